"""The settings in force in one process, and what is made of them: replaced whole, in two steps.

The first step reads and puts together all that new settings need, and may fail; the old ones stay
in force. The second step only replaces, and cannot fail. Requests under way keep what they have.
"""

from __future__ import annotations

import resource
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta

from scepkit.enrolment.third_parties import ThirdParties
from scepkit.errors import ScepError, SettingsError, UsageError
from scepkit.server.background.audit import AuditJoining
from scepkit.server.background.crl_signing import CRLs
from scepkit.server.background.housekeeping import Sweeper
from scepkit.server.directory import ca_loading
from scepkit.server.directory.ca_loading import LoadedCA
from scepkit.server.directory.data_directory import Home, utc_now
from scepkit.server.endpoints.assembly import assemble
from scepkit.server.endpoints.served import Endpoints, ServedEndpoint
from scepkit.server.http.bounds import Bounds
from scepkit.server.http.connections import Connections
from scepkit.server.http.tally import Tally
from scepkit.server.notifications.channels import Channel, channels_of
from scepkit.server.notifications.delivering import Notifier
from scepkit.server.notifications.failing import FailingRules
from scepkit.server.notifications.upkeep import Upkeep
from scepkit.server.settings import Settings
from scepkit.server.web.health import Conditions, State
from scepkit.store import Store


@dataclass(frozen=True, slots=True)
class _Prepared:
    """All that is replaced at once."""

    home: Home
    seen: Hashable
    served: Mapping[str, ServedEndpoint]
    bounds: Bounds
    channels: Mapping[str, Channel]


class InForce:
    """The settings in force, and the endpoints, CRLs and bounds that go by them.

    Args:
        home: the data directory.
        store: its database.
        crls: told of the CAs that are served.
        sweeper: told of the settings.
        third_parties: those that have a word on certificates, by the names of endpoints.

    Attributes:
        home: the data directory as it is served: settings, files, CAs.
        endpoints: the endpoints in service.
        sweeper: the background task.
        joining: the thread that joins the audit record.
        notifier: the thread that delivers what others are told.
        fault: why settings were not taken over the last time; None when they were.

    Raises:
        SettingsError: a file that a setting names cannot be used, or a setting does not fit its CA.
    """

    def __init__(
        self,
        home: Home,
        store: Store,
        crls: CRLs,
        sweeper: Sweeper,
        third_parties: Mapping[str, ThirdParties],
    ) -> None:
        self.home = home
        self.sweeper = sweeper
        self.fault: ScepError | None = None
        self._store = store
        self._third_parties = third_parties
        self._crls = crls
        self._prepared: _Prepared | None = None
        self._bounds = _bounds(home.settings)
        self._connections: Connections | None = None
        self.endpoints = Endpoints(
            stamp=self._stamp,
            build=self._build,
            authorities=self._authorities_by_endpoint,
            at_certsrv=self._name_at_certsrv,
        )
        self.joining = AuditJoining(
            store, self.authorities, utc_now, pause=_sweep_seconds(home.settings)
        )
        self.notifier = Notifier(
            store,
            channels_of(home.settings, home.secrets),
            Upkeep(store, lambda: self.home.settings, self.authorities),
            FailingRules(store, lambda: self.endpoints.served),
            utc_now,
        )

    def authorities(self) -> Mapping[str, LoadedCA]:
        """Return the CAs that are served."""
        return self.home.authorities

    def connections(self, tally: Tally) -> Connections:
        """Return the connections of this process, which is new to them."""
        self._connections = Connections(self._bounds, tally)
        return self._connections

    def conditions(self, conditions: Conditions) -> Iterator[State]:
        """Yield what is wrong, by the settings of this moment."""
        yield from replace(conditions, settings=self.home.settings).find()

    def prepare(self, home: Home) -> None:
        """Put together what other settings need; nothing changes yet.

        Args:
            home: the data directory with the settings and files that are to be in force. Its CAs
                are read here.

        Raises:
            ScepError: the settings cannot be used.
        """
        self._prepared = None
        # The stamp first: what changes while it is read is read again at the next look.
        seen = ca_loading.stamps(home.settings)
        home = home.with_cas(utc_now())
        served = assemble(home, self._store, third_parties=self._third_parties)
        channels = channels_of(home.settings, home.secrets)
        self._prepared = _Prepared(home, seen, served, _bounds(home.settings), channels)

    def switch(self) -> None:
        """Put into force what was prepared.

        Raises:
            UsageError: nothing was.
        """
        prepared = self._prepared
        if prepared is None:
            raise UsageError("no settings were prepared")

        def switch() -> None:
            settings = prepared.home.settings
            self.home, self._bounds = prepared.home, prepared.bounds
            self._publish(timedelta(hours=settings.crl_hours))
            self.sweeper.use(settings, prepared.home.passphrases)
            self.joining.use(_sweep_seconds(settings))
            self._store.subscribe(settings.subscriptions)
            self.notifier.use(prepared.channels)
            if self._connections is not None:
                self._connections.bounds = prepared.bounds

        self.endpoints.replace(prepared.seen, prepared.served, switch)
        self._prepared, self.fault = None, None

    def drop(self, fault: ScepError | None) -> None:
        """Keep the settings in force, and remember why others did not come into force."""
        self._prepared, self.fault = None, fault

    def _stamp(self) -> Hashable:
        return ca_loading.stamps(self.home.settings)

    def _authorities_by_endpoint(self) -> Mapping[str, str]:
        return {name: one.ca for name, one in self.home.settings.endpoint.items()}

    def _name_at_certsrv(self) -> str:
        return next((name for name, one in self.home.settings.endpoint.items() if one.ndes), "")

    def _build(self) -> Mapping[str, ServedEndpoint]:
        """Put the endpoints together after a change of the CAs' files; the settings stay.

        Raises:
            SettingsError: the files cannot be read, or those of a CA that was there are gone.
        """
        home = self.home.with_cas(utc_now())
        issuing = self.home.authorities.keys() & set(home.settings.issuing)
        if gone := issuing - home.authorities.keys():
            raise SettingsError(
                f"the files of the CA {min(gone)!r} are gone", hint="restore them from a backup"
            )
        served = assemble(home, self._store, third_parties=self._third_parties)
        self.home = home
        self._publish()
        return served

    def _publish(self, lifetime: timedelta | None = None) -> None:
        authorities = self.home.authorities.values()
        self._crls.use((one for ca in authorities for one in ca.generations), lifetime)


def _bounds(settings: Settings) -> Bounds:
    return Bounds.of(settings, files=resource.getrlimit(resource.RLIMIT_NOFILE)[0])


def _sweep_seconds(settings: Settings) -> float:
    return settings.sweep_minutes * 60
