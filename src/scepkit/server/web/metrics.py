"""Prometheus metrics: requests, their outcomes and durations, and what the database knows.

The database knows of revocations, of the age of the CRLs, of challenges and of the outbox. Much of
it also comes from `scep admin`, whose process nobody scrapes, and CRLs from any worker, so counting
in a process would miss most of it.

Labels take only values of ours, never a peer's, so that their number is bounded.
"""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from threading import Lock
from typing import TypeVar

import structlog
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector
from sqlalchemy import URL

from scepkit.ca.extensions import ca_id
from scepkit.errors import StoreError
from scepkit.protocol.crl import Reason
from scepkit.store import Store

MULTIPROCESS = "PROMETHEUS_MULTIPROC_DIR"

# Seconds that an answer of the database stands: the record is counted as a whole, and anybody may
# ask.
_STANDS = 10.0

log = structlog.get_logger()

REQUESTS = Counter(
    "scep_requests",
    "SCEP operations answered.",
    ["endpoint", "operation", "message_type", "outcome"],
)
SECONDS = Histogram(
    "scep_request_seconds",
    "Seconds from the whole request to the answer.",
    ["operation"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
LEGACY = Counter(
    "scep_legacy_uses", "Requests that use a legacy algorithm or form.", ["endpoint", "name"]
)

CMP = Counter("scep_cmp_responses", "CMP requests answered.", ["endpoint", "outcome"])

OCSP = Counter("scep_ocsp_responses", "OCSP requests answered.", ["endpoint", "outcome", "kept"])

API = Counter("scep_api_responses", "Requests to the API answered.", ["status"])

FETCHES = Counter(
    "scep_fetches",
    "Requests for CRLs, CA certificates and renewal information.",
    ["what", "status"],
)

DOORS = Counter(
    "scep_door_requests",
    "Requests for challenges at the NDES page and the webhook of Jamf Pro.",
    ["endpoint", "door", "outcome"],
)

LOST = Counter("scep_log_lines_lost", "Lines of the log that could not be written.")

BOUNDS = Counter("scep_bounds", "Times that a bound was reached.", ["bound"])

WAITING = Gauge(
    "scep_waiting", "Requests that wait for a third party.", ["role"], multiprocess_mode="livesum"
)
WAITED = Histogram(
    "scep_waiting_seconds",
    "Seconds that a request waited for a third party.",
    ["role", "outcome"],
    buckets=(0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120),
)
UNSENT = Counter(
    "scep_unsent_certificates",
    "Certificates of other CAs that were not sent: withdrawn there, or reported in the log.",
    ["outcome"],
)

NOTIFICATIONS = Counter(
    "scep_notifications", "Tries to deliver an event.", ["notification", "result"]
)
INTUNE = Counter(
    "scep_intune_answers",
    "Answers of Intune: its code, or failed where there was none that could be used.",
    ["registration", "call", "code"],
)
INTUNE_SECRET = Gauge(
    "scep_intune_secret_expires_timestamp_seconds",
    "The day on which the client secret of an app registration expires.",
    ["registration"],
    multiprocess_mode="mostrecent",
)

_ALL = (
    *(REQUESTS, SECONDS, LEGACY, CMP, OCSP, API, FETCHES, DOORS, LOST, BOUNDS),
    *(WAITING, WAITED, UNSENT, INTUNE, INTUNE_SECRET, NOTIFICATIONS),
)


_AnyMetric = TypeVar("_AnyMetric", Counter, Gauge, Histogram)


@functools.lru_cache(maxsize=4096)
def labelled(metric: _AnyMetric, *labels: str) -> _AnyMetric:
    """Return a metric with these labels; the library would look for it anew each time."""
    return metric.labels(*labels)


def render(*more: Collector) -> tuple[bytes, str]:
    """Return the metrics of all worker processes, and their media type.

    Args:
        more: what is to be collected beside them.
    """
    return generate_latest(registry(*more)), CONTENT_TYPE_LATEST


def registry(*more: Collector) -> CollectorRegistry:
    """Return the registry of the metrics of all worker processes.

    Args:
        more: what is to be collected beside them.
    """
    collected = CollectorRegistry()
    for collector in more:
        collected.register(collector)
    if os.environ.get(MULTIPROCESS):
        MultiProcessCollector(collected)  # type: ignore[no-untyped-call]
        return collected
    for metric in _ALL:
        collected.register(metric)
    return collected


class RecordMetrics(Collector):
    """Collects what the database knows, when it is asked for. Threads may share it.

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
    def of(cls, database_url: str | URL) -> RecordMetrics:
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
            found = [_revocations(self._store), *_crls(self._store), _challenges(self._store)]
            return [*found, *_outbox(self._store)]
        except StoreError as error:
            log.warning("no metrics of the database", error=error.message, hint=error.hint)
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


def _challenges(store: Store) -> Metric:
    family = GaugeMetricFamily(
        "scep_pending_challenges",
        "One-time challenges that are neither spent, void nor expired.",
        labels=["endpoint", "door"],
    )
    for one in store.pending_challenges(datetime.now(UTC)):
        family.add_metric([one.endpoint, one.door], one.pending)
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


def _outbox(store: Store) -> Iterator[Metric]:
    length = GaugeMetricFamily(
        "scep_outbox_length",
        "Events that wait to be delivered, or could not be.",
        labels=["notification", "state"],
    )
    oldest = GaugeMetricFamily(
        "scep_outbox_oldest_timestamp_seconds",
        "Time of the oldest event that waits to be delivered.",
        labels=["notification"],
    )
    lost = CounterMetricFamily(
        "scep_outbox_lost", "Events that were dropped undelivered.", labels=["notification"]
    )
    for name, queue in store.queues().items():
        length.add_metric([name, "waiting"], queue.waiting)
        length.add_metric([name, "dead"], queue.dead)
        if queue.oldest is not None:
            oldest.add_metric([name], queue.oldest.timestamp())
        lost.add_metric([name], queue.lost)
    yield from (length, oldest, lost)
