"""The settings of a server: `scep.toml` in its directory, then `SCEP_…` variables, then options.

Everything is checked when the server starts; an error names the file, the key and what is allowed.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Collection, Mapping
from datetime import timedelta
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)
from pydantic_settings import SettingsError as SourceError
from sqlalchemy import URL

from scepkit.ca.directory.founding import RA_VALIDITY
from scepkit.ca.directory.layouts import NewCA
from scepkit.errors import SettingsError
from scepkit.keys.files import plain_file, refusals
from scepkit.server.http.peers import Proxies
from scepkit.server.settings import api, authorization, doors, former_cas
from scepkit.server.settings import errors as settings_errors
from scepkit.server.settings.authorization import IntuneRule
from scepkit.server.settings.ca import CASettings
from scepkit.server.settings.endpoint import EndpointSettings
from scepkit.server.settings.intune import IntuneSettings
from scepkit.server.settings.notification import NotificationSettings
from scepkit.server.settings.profiles import inheritance
from scepkit.server.settings.profiles.files import ProfileFiles
from scepkit.server.settings.profiles.format import ProfileSettings, tables
from scepkit.server.settings.profiles.values import NAME
from scepkit.server.settings.template import TEMPLATE
from scepkit.store import Subscription
from scepkit.store.engine import sqlite_url

__all__ = ["DEFAULT", "FILE", "FIXED", "TEMPLATE", "EndpointSettings", "Settings", "load"]

FILE = "scep.toml"

DEFAULT = "default"
"""The endpoint, and the CA, that is always there."""

FIXED = (
    *("directory", "host", "port", "workers", "metrics", "log", "api", "api_tls"),
    *("database", "database_seconds", "audit", "max_waiting", "waiting_seconds", "kept_refusals"),
)
"""The settings of the server that stay as they are until it is started again."""

# `/scep/cgi-bin/pkiclient.exe` is what devices make of `/scep`.
_RESERVED = frozenset({"cgi-bin"})
_USUAL_CA = CASettings()


def _usual_proxies() -> tuple[str, ...]:
    """Return who is believed unless the settings say so: FORWARDED_ALLOW_IPS, or this machine."""
    listed = os.environ.get("FORWARDED_ALLOW_IPS", "127.0.0.1,::1")
    return tuple(one.strip() for one in listed.split(",") if one.strip())


class Settings(BaseSettings):
    """All settings of one server.

    Attributes:
        directory: of the CA, the database and scep.toml; never in the file itself.
        host: the address to listen on.
        port: the port to listen on; 0 for a free one.
        workers: the number of worker processes.
        public_url: the URL at which devices reach the server.
        pki_url: the URL that /crl, /ca and /ocsp are under, for certificates; empty to take
            `public_url` without its /scep.
        metrics: `HOST:PORT` for /metrics and the reasons of /healthz; empty for the server's own
            address, without the reasons.
        api: `HOST:PORT` of the API, which has a process of its own; empty for none.
        api_tls: whether it speaks TLS itself.
        api_certificate: the PEM file of its certificate and those above it; one is made without it.
        api_key: the PEM file of its key.
        api_requests_per_minute: of one token.
        api_wrong_tokens_per_minute: of one address.
        log: the form of the log on stderr.
        database: an SQLAlchemy URL; empty for SQLite in the directory.
        database_seconds: the longest wait for a database lock of another program.
        retention_days: the time for which answered requests, expired challenges and expired
            certificates are kept.
        audit: whether what is done is written into the audit record.
        crl_hours: the validity of a CRL.
        ocsp_minutes: the validity of an OCSP response.
        ra_rotation_days: the time before its end at which an RA certificate is replaced.
        sweep_minutes: the time between two runs of the background task.
        max_connections: simultaneous connections, over all worker processes.
        max_connections_per_address: of these, of one address; of IPv6, of one /64.
        max_pipelined: requests that wait on one connection behind the one in progress.
        max_waiting: requests of a worker process that wait for other services at once.
        waiting_seconds: for which a request waits at most for one of them.
        kept_refusals: refused requests that are kept of an endpoint's strangers, and as many of
            those who had shown a right to a certificate; 0 for none.
        request_seconds: in which a request has to arrive whole.
        response_seconds: in which a response, or 64 KiB of it, has to be taken.
        proxies: addresses and networks whose X-Forwarded-For is believed, or `*`.
        key_passphrase_file: the file with what the keys are encrypted under; relative to the
            directory.
        ca: what CAs are, by name, where the server makes them.
        intune: app registrations of Entra, by name.
        profile: which certificates are issued, by the names of profiles; the ready ones, too.
        endpoint: the endpoints by name; `default` always exists.
        notification: who is told of what, by name.
    """

    model_config = SettingsConfigDict(
        env_prefix="SCEP_", env_nested_delimiter="__", extra="forbid", frozen=True
    )

    directory: Path
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    workers: Annotated[int, Field(ge=1, le=64)] = 1
    public_url: Annotated[str, Field(pattern=r"^(https?://\S+)?$")] = ""
    pki_url: Annotated[str, Field(pattern=r"^(https?://\S+)?$")] = ""
    metrics: Annotated[str, Field(pattern=r"^(\S+:\d{1,5})?$")] = ""
    api: Annotated[str, Field(pattern=r"^(\S+:\d{1,5})?$")] = ""
    api_tls: bool = True
    api_certificate: Path | None = None
    api_key: Path | None = None
    api_requests_per_minute: Annotated[int, Field(ge=1, le=1_000_000)] = 1200
    api_wrong_tokens_per_minute: Annotated[int, Field(ge=1, le=100_000)] = 30
    log: Literal["auto", "json", "text"] = "auto"
    database: str = ""
    database_seconds: Annotated[float, Field(ge=0.1, le=300)] = 5
    retention_days: Annotated[int, Field(ge=1, le=36500)] = 90
    audit: bool = True
    crl_hours: Annotated[int, Field(ge=1, le=24 * 366)] = 24
    ocsp_minutes: Annotated[int, Field(ge=1, le=7 * 24 * 60)] = 60
    ra_rotation_days: Annotated[int, Field(ge=1, le=RA_VALIDITY.days - 1)] = 30
    sweep_minutes: Annotated[int, Field(ge=1, le=24 * 60)] = 10
    max_connections: Annotated[int, Field(ge=16, le=1_000_000)] = 4096
    max_connections_per_address: Annotated[int, Field(ge=1, le=1_000_000)] = 256
    max_pipelined: Annotated[int, Field(ge=1, le=1000)] = 16
    max_waiting: Annotated[int, Field(ge=1, le=1_000_000)] = 1000
    waiting_seconds: Annotated[float, Field(gt=0, le=3600)] = 30
    kept_refusals: Annotated[int, Field(ge=0, le=100_000)] = 1000
    request_seconds: Annotated[float, Field(gt=0, le=3600)] = 30
    response_seconds: Annotated[float, Field(gt=0, le=3600)] = 30
    proxies: tuple[str, ...] = Field(default_factory=_usual_proxies)
    key_passphrase_file: Path | None = None
    ca: dict[str, CASettings] = {}
    intune: dict[str, IntuneSettings] = {}
    profile: Annotated[dict[str, ProfileSettings], Field(validate_default=True)] = {}
    endpoint: dict[str, EndpointSettings] = {DEFAULT: EndpointSettings()}
    notification: dict[str, NotificationSettings] = {}

    @field_validator("profile")
    @classmethod
    def _resolve_profiles(cls, value: dict[str, ProfileSettings]) -> dict[str, ProfileSettings]:
        for name in value:
            _check_name(f"[profile.{name}]", name)
        return inheritance.resolved(value)

    @field_validator("endpoint")
    @classmethod
    def _check_endpoints(cls, value: dict[str, EndpointSettings]) -> dict[str, EndpointSettings]:
        for name, endpoint in value.items():
            _check_name(f"[endpoint.{name}]", name)
            _check_name(f"ca of [endpoint.{name}]", endpoint.ca)
        _check_layouts(value)
        return {DEFAULT: value.get(DEFAULT) or EndpointSettings(), **value}

    @model_validator(mode="after")
    def _check_cas(self) -> Self:
        for name in self.ca:
            if name not in self.authorities:
                similar = get_close_matches(name, self.authorities, n=1)
                meant = f"; did you mean [ca.{similar[0]}]?" if similar else ""
                said = f"no endpoint has a CA of that name{meant}"
                raise settings_errors.Misplaced(said, "ca", name)
        return self

    @model_validator(mode="after")
    def _check_notifications(self) -> Self:
        for name, one in self.notification.items():
            if not is_name(name):
                said = "a name has 1 to 32 of a-z, 0-9 and - (and is not cgi-bin)"
                raise settings_errors.Misplaced(said, "notification", name)
            if unknown := set(one.endpoints) - self.endpoint.keys():
                said = f"there is no endpoint {min(unknown)!r}"
                raise settings_errors.Misplaced(said, "notification", name, "endpoints")
        return self

    @model_validator(mode="after")
    def _check_profiles(self) -> Self:
        for name, endpoint in self.endpoint.items():
            place = ("endpoint", name, "profile")
            inheritance.check_known(endpoint.profile, self.profile, *place)
            self.profile_of(name)
        return self

    @model_validator(mode="after")
    def _check_doors(self) -> Self:
        at_certsrv = [name for name, one in self.endpoint.items() if one.ndes]
        if len(at_certsrv) > 1:
            said = f"ndes = true of the endpoint {at_certsrv[0]!r} has /certsrv for itself already"
            raise settings_errors.Misplaced(
                f"{said}; set mscep_admin = true here", "endpoint", at_certsrv[1], "ndes"
            )
        opened = [n for n, one in self.endpoint.items() if one.has_ndes_page or one.jamf]
        is_told = "proxies" in self.model_fields_set
        said = doors.check_private(opened, self.host, self.proxies, told=is_told)
        if said:
            raise settings_errors.Misplaced(
                f"challenges are given out by TLS or on this machine only, and {said}",
                *("endpoint", opened[0], "jamf" if self.endpoint[opened[0]].jamf else "ndes"),
            )
        return self

    @field_validator("intune")
    @classmethod
    def _check_intune(cls, value: dict[str, IntuneSettings]) -> dict[str, IntuneSettings]:
        for name in value:
            _check_name(f"[intune.{name}]", name)
        return value

    @model_validator(mode="after")
    def _check_registrations(self) -> Self:
        for name, endpoint in self.endpoint.items():
            for number, rule in enumerate(endpoint.authorization):
                if isinstance(rule, IntuneRule) and rule.registration not in self.intune:
                    near = get_close_matches(rule.registration, self.intune, n=1)
                    meant = f"did you mean {near[0]!r}?" if near else "write one"
                    said = f"there is no [intune.{rule.registration}]; {meant}"
                    place = ("endpoint", name, "authorization", str(number), "registration")
                    raise settings_errors.Misplaced(said, *place)
        return self

    @field_validator("proxies")
    @classmethod
    def _check_proxies(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        Proxies(value)
        return value

    @model_validator(mode="after")
    def _check_api(self) -> Self:
        api.check(self)
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Say where values come from, the strongest first."""
        del dotenv_settings, file_secret_settings
        directory = Path(init_settings()["directory"])
        file = TomlConfigSettingsSource(settings_cls, directory / FILE)
        return init_settings, env_settings, file, ProfileFiles(settings_cls, directory, file)

    @cached_property
    def database_url(self) -> str | URL:
        """Return the SQLAlchemy URL of the database."""
        return self.database or sqlite_url(self.directory / "scep.db")

    @property
    def authorities(self) -> tuple[str, ...]:
        """Return the names of the CAs; `default` is first, and always among them.

        Those that no endpoint has any more come last: they issue nothing, and go on signing CRLs.
        """
        return *self.issuing, *former_cas.names(self.directory, self.issuing)

    @property
    def issuing(self) -> tuple[str, ...]:
        """Return the names of the CAs that endpoints have, and of `default`, which is first."""
        return tuple(dict.fromkeys([DEFAULT, *(one.ca for one in self.endpoint.values())]))

    @property
    def renewal_graces(self) -> dict[str, timedelta]:
        """Return how long each endpoint renews what has expired, by its name."""
        return {name: self.profile_of(name).renewal.grace for name in self.endpoint}

    @property
    def subscriptions(self) -> list[Subscription]:
        """Return who is told of what."""
        return [
            one.subscription(name) for name, one in self.notification.items() if not one.disabled
        ]

    def profile_of(self, endpoint: str) -> ProfileSettings:
        """Return the profile of an endpoint, with what the endpoint says otherwise."""
        settings = self.endpoint[endpoint]
        return settings.changed(self.profile[settings.profile])

    def authority_directory(self, name: str) -> Path:
        """Return where the files of a CA are."""
        return self.directory if name == DEFAULT else self.directory / f"ca-{name}"

    def new_authority(self, name: str) -> NewCA:
        """Return what a CA is to be, where it is made."""
        return self.ca.get(name, _USUAL_CA).new

    def authority_layout(self, name: str) -> str | None:
        """Return the key layout that the settings name for a CA, if they do."""
        wanted = (one.layout for one in self.endpoint.values() if one.ca == name)
        return next((layout for layout in wanted if layout), None)


class _Complete(Settings):
    """Settings that were read before: neither the file nor a variable adds to them."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Say that values come from the caller alone."""
        del settings_cls, env_settings, dotenv_settings, file_secret_settings
        return (init_settings,)


def restore(values: Mapping[str, Any]) -> Settings:
    """Return settings from all their values, as `model_dump` gave them in JSON, without None."""
    return _Complete(**values)


def load(directory: Path, **options: Any) -> Settings:
    """Read the settings of the server in a directory.

    Args:
        directory: with or without a scep.toml.
        options: values that win over the file and the environment; None is no value.

    Raises:
        SettingsError: they cannot be read, or a value is not allowed.
    """
    given = {name: value for name, value in options.items() if value is not None}
    path = directory / FILE
    _check_file(path)
    try:
        return Settings(directory=directory.absolute(), **given)
    except ValidationError as error:
        place = settings_errors.place_of(error, path)
        line = f" (line {place.line})" if place.line else ""
        raise SettingsError(
            f"{_explain(place.file or str(path), error)}{line}", hint=settings_errors.CORRECT
        ) from error
    except SourceError as error:
        # A scep.toml that is no TOML comes as itself.
        raise SettingsError(
            settings_errors.explain_variable(error, os.environ), hint=settings_errors.AS_JSON
        ) from error
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path}: {error}", hint=settings_errors.toml_hint(error)) from error
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path} is not UTF-8 text") from error
    except RecursionError as error:
        raise SettingsError(f"{path}: lists or tables lie too deep in each other") from error


def _check_file(path: Path) -> None:
    """Refuse what is in the place of the file and cannot be read: the library would pass it over.

    Raises:
        SettingsError: it is there, and is no plain file that this user may read.
    """
    with refusals(f"cannot read {path}"):
        try:
            path.lstat()
        except FileNotFoundError:
            return
        with plain_file(path):
            pass


def is_name(text: str) -> bool:
    """Say whether an endpoint or a CA can have a name."""
    return NAME.fullmatch(text) is not None and text not in _RESERVED


def _check_name(where: str, name: str) -> None:
    if not is_name(name):
        raise ValueError(f"{where}: a name has 1 to 32 of a-z, 0-9 and - (and is not cgi-bin)")


def _check_layouts(endpoints: Mapping[str, EndpointSettings]) -> None:
    """A CA has one layout, whichever endpoint names it."""
    wanted: dict[str, str] = {}
    for name, endpoint in endpoints.items():
        if endpoint.layout and wanted.setdefault(endpoint.ca, endpoint.layout) != endpoint.layout:
            raise ValueError(
                f"[endpoint.{name}] wants the layout {endpoint.layout!r} for the CA "
                f"{endpoint.ca!r}, another endpoint {wanted[endpoint.ca]!r}"
            )


def faults(error: SettingsError, directory: Path) -> list[tuple[settings_errors.Place, str]]:
    """Return all that is wrong with the settings, each with its place.

    Args:
        error: what `load` raised.
        directory: the server's.
    """
    cause = error.__cause__
    if isinstance(cause, ValidationError):
        return settings_errors.faults(cause, directory / FILE, *_known())
    return [(settings_errors.place_of(cause, directory / FILE), error.message)]


def _explain(where: str, error: ValidationError) -> str:
    return f"{where} or SCEP_… variables: {settings_errors.explain(error, *_known())}"


def _known() -> tuple[list[str], dict[str, Collection[str]]]:
    """Return the settings that there are: those of the server, and those of sections."""
    # None of these is one to write there.
    sections = ("directory", "endpoint", "ca", "intune", "profile", "notification")
    names = [name for name in Settings.model_fields if name not in sections]
    keys = {
        "endpoint": EndpointSettings.model_fields,
        "ca": CASettings.model_fields,
        "intune": IntuneSettings.model_fields,
        "notification": NotificationSettings.model_fields,
        **tables(ProfileSettings, "profile"),
        **authorization.tables(),
        **doors.tables(),
    }
    return names, keys
