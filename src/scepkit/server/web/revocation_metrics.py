"""Metrics that are read from the database: revocations, and the age of the CRLs.

Revocations also come from `scep admin`, whose process nobody scrapes, and CRLs from any worker, so
counting in a process would miss most of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from threading import Lock

import structlog
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import URL

from scepkit.ca.locations import ca_id
from scepkit.errors import StoreError
from scepkit.protocol.crl import Reason
from scepkit.store import Store

# Seconds that an answer stands: the record is counted as a whole, and anybody may ask.
_STANDS = 10.0

log = structlog.get_logger()


class RevocationMetrics(Collector):
    """Collects them when they are asked for. Threads may share it.

    Args:
        store: returns the database; called when it is first needed.
        monotonic: returns the seconds of a clock that nobody sets.
    """

    def __init__(
        self, store: Callable[[], Store], monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._open = store
        self._monotonic = monotonic
        self._lock = Lock()
        self._store: Store | None = None
        self._found: list[Metric] = []
        self._asked = float("-inf")

    @classmethod
    def of(cls, database_url: str | URL) -> RevocationMetrics:
        """Return those of a database that is opened when they are first asked for."""
        return cls(lambda: Store.open(database_url))

    def describe(self) -> list[Metric]:
        """Name nothing in advance: the registry would read the database for that."""
        return []

    def collect(self) -> list[Metric]:
        """Return the metrics of now, or of a few seconds ago; nothing without the database."""
        with self._lock:
            if self._monotonic() - self._asked >= _STANDS:
                self._found = self._read()
                self._asked = self._monotonic()
            return self._found

    def _read(self) -> list[Metric]:
        try:
            if self._store is None:
                self._store = self._open()
            return [_revocations(self._store), *_crls(self._store)]
        except StoreError as error:
            log.warning("no metrics of revocations", error=error.message, hint=error.hint)
            return []


def _revocations(store: Store) -> Metric:
    family = GaugeMetricFamily(
        "scep_recorded_revocations",
        "Revocations, holds and releases of certificates that are not purged.",
        labels=["action", "reason"],
    )
    for (action, reason), count in store.revocation_counts().items():
        family.add_metric([action.value, Reason(reason).name], count)
    return family


def _crls(store: Store) -> Iterator[Metric]:
    number = GaugeMetricFamily("scep_crl_number", "The newest CRL's number.", labels=["ca"])
    since = GaugeMetricFamily(
        "scep_crl_this_update_timestamp_seconds",
        "Time at which the newest CRL was signed.",
        labels=["ca"],
    )
    until = GaugeMetricFamily(
        "scep_crl_next_update_timestamp_seconds",
        "Time until which the newest CRL is valid.",
        labels=["ca"],
    )
    for issuer, state in store.crl_states().items():
        labels = [ca_id(issuer)]
        number.add_metric(labels, state.number)
        since.add_metric(labels, state.this_update.timestamp())
        until.add_metric(labels, state.next_update.timestamp())
    yield from (number, since, until)
