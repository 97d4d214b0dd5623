"""The settings of a server: `scep.toml` in its directory, then `SCEP_…` variables, then options.

Everything is checked when the server starts; an error names the file, the key and what is allowed.
"""

from __future__ import annotations

import tomllib
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)
from pydantic_settings import SettingsError as SourceError

from scepkit.ca.profile import Profile
from scepkit.errors import SettingsError
from scepkit.protocol.algorithms import Legacy

FILE = "scep.toml"

TEMPLATE = """\
# The settings of this SCEP server. Every value may also come from the environment
# (SCEP_PORT=8081, SCEP_ENDPOINT__DEFAULT__LEGACY='["sha1"]') or from an option of scep serve;
# an option wins over the environment, the environment over this file.

host = "{host}"
port = {port}
workers = {workers}

# The URL that devices reach this server at, if it is another than http://HOST:PORT/scep.
# public_url = "http://scep.example.com/scep"

# Prometheus metrics are at /metrics of the address above; name another to keep them apart.
# metrics = "127.0.0.1:9108"

# "json" for machines, "text" for people, "auto" for text on a terminal and JSON elsewhere.
log = "auto"

[endpoint.default]
# Algorithms below AES and SHA-2, for devices that can do no better: "sha1", "des3", and, outside
# the RFC, "des" and "md5". Every use is logged.
legacy = [{legacy}]
validity_days = 365
"""


class EndpointSettings(BaseModel):
    """`[endpoint.NAME]`.

    Attributes:
        legacy: algorithms that are off unless named here.
        validity_days: how long an issued certificate is valid.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    legacy: frozenset[Legacy] = frozenset()
    validity_days: Annotated[int, Field(ge=1, le=3650)] = 365

    @property
    def profile(self) -> Profile:
        """What the endpoint issues."""
        return Profile(validity=timedelta(days=self.validity_days))


class Settings(BaseSettings):
    """All settings of one server.

    Attributes:
        directory: where the CA, the database and scep.toml are; never in the file itself.
        host: the address to listen on.
        port: the port to listen on; 0 for a free one.
        workers: how many processes serve.
        public_url: the URL that devices are told, if the server cannot know it.
        metrics: `HOST:PORT` for /metrics; empty for the server's own address.
        log: the form of the log on stderr.
        database: an SQLAlchemy URL; empty for SQLite in the directory.
        endpoint: by name; this version has one, `default`.
    """

    model_config = SettingsConfigDict(
        env_prefix="SCEP_", env_nested_delimiter="__", extra="forbid", frozen=True
    )

    directory: Path
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    workers: Annotated[int, Field(ge=1, le=64)] = 1
    public_url: Annotated[str, Field(pattern=r"^(https?://\S+)?$")] = ""
    metrics: Annotated[str, Field(pattern=r"^(\S+:\d{1,5})?$")] = ""
    log: Literal["auto", "json", "text"] = "auto"
    database: str = ""
    endpoint: dict[str, EndpointSettings] = {"default": EndpointSettings()}

    @field_validator("endpoint")
    @classmethod
    def _only_default(cls, value: dict[str, EndpointSettings]) -> dict[str, EndpointSettings]:
        if set(value) != {"default"}:
            raise ValueError("this version has exactly one endpoint, [endpoint.default]")
        return value

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
        return init_settings, env_settings, file

    @property
    def database_url(self) -> str:
        """The SQLAlchemy URL of the database."""
        return self.database or f"sqlite:///{self.directory / 'scep.db'}"


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
    try:
        return Settings(directory=directory.absolute(), **given)
    except ValidationError as error:
        raise SettingsError(_explain(path, error), hint="correct it and start again") from error
    except SourceError as error:
        # A variable that has to hold JSON; a scep.toml that is no TOML comes as itself.
        raise SettingsError(
            f"SCEP_… variables: {error}", hint="write it as JSON, for instance '[\"sha1\"]'"
        ) from error
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path}: {error}", hint="correct it and start again") from error
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path} is not UTF-8 text") from error


def _explain(path: Path, error: ValidationError) -> str:
    problems = []
    for item in error.errors(include_url=False, include_context=False):
        key = ".".join(str(part) for part in item["loc"])
        problems.append(f"{key}: {item['msg']}")
    return f"{path} or SCEP_… variables: " + "; ".join(problems)
