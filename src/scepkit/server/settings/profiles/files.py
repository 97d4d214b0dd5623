"""profiles/NAME.toml beside scep.toml: a profile in a file of its own."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from scepkit.errors import SettingsError
from scepkit.keys.files import read_file, refusals
from scepkit.server.settings.errors import PROFILES, UnreadableFile, toml_hint
from scepkit.server.settings.profiles import values


class ProfileFiles(PydanticBaseSettingsSource):
    """The profiles that have files of their own, as a source of settings.

    Args:
        settings: the settings that are to be read.
        directory: the server's.
        file: what is read of scep.toml.

    Raises:
        SettingsError: one cannot be read, or is in scep.toml, too.
    """

    def __init__(
        self, settings: type[BaseSettings], directory: Path, file: PydanticBaseSettingsSource
    ) -> None:
        super().__init__(settings)
        self._directory = directory / PROFILES
        self._file = file

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Say that no setting is read by itself."""
        del field
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        """Return the profiles, as a section of the settings."""
        with refusals(f"cannot read {self._directory}"):
            paths = sorted(self._directory.glob("*.toml")) if self._directory.is_dir() else []
        for path in paths:
            if not values.NAME.fullmatch(path.stem):
                raise SettingsError(f"{path}: no profile can have that name", hint=_NAME_HINT)
        found = {path.stem: _read(path) for path in paths}
        written = self._file().get(_SECTION)
        twice = sorted(found.keys() & written.keys()) if isinstance(written, dict) else []
        if twice:
            raise SettingsError(
                f"{self._directory / f'{twice[0]}.toml'}: scep.toml has [profile.{twice[0]}], too",
                hint="keep one of the two",
            )
        return {_SECTION: found} if found else {}


_SECTION = "profile"
_NAME_HINT = "name the file NAME.toml; a name has 1 to 32 of a-z, 0-9 and -"


def _read(path: Path) -> dict[str, Any]:
    with refusals(f"cannot read {path}"):
        try:
            found = tomllib.loads(read_file(path).decode("utf-8"))
        except tomllib.TOMLDecodeError as error:
            fault = UnreadableFile(path, error)
            raise SettingsError(f"{path}: {error}", hint=toml_hint(error)) from fault
        except UnicodeDecodeError as error:
            raise SettingsError(f"{path} is not UTF-8 text") from error
        except RecursionError as error:
            raise SettingsError(f"{path}: lists or tables lie too deep in each other") from error
    if _SECTION in found:
        raise SettingsError(
            f"{path}: [{_SECTION}.…] is for scep.toml",
            hint=f"the file is the profile {path.stem!r}: leave [{_SECTION}.{path.stem}] out, and "
            f"write [key] in place of [{_SECTION}.{path.stem}.key]",
        )
    return found
