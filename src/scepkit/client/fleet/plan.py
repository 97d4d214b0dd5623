"""The plan of a fleet, `fleet.json`: its server and its list, for who looks at it later."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from scepkit.errors import Hint, SettingsError
from scepkit.keys.files import read_file, refusals, write_file

PLAN = "fleet.json"

_MODE = 0o644


@dataclass(frozen=True, slots=True)
class Plan:
    """The plan of a fleet: its server and its list.

    Attributes:
        list: the file with its devices, by its whole path.
        url: of the SCEP server.
        devices: how many there are, those of earlier lists among them.
    """

    list: str
    url: str
    devices: int

    @classmethod
    def read(cls, directory: Path) -> Plan:
        """Read the plan of a fleet's directory.

        Raises:
            SettingsError: there is none, or it cannot be used.
        """
        path = directory / PLAN
        if not path.exists():
            raise SettingsError(
                f"there is no fleet in {directory}",
                hint=Hint.NO_FLEET,
            )
        with refusals(f"cannot read {path}"):
            text = read_file(path)
        try:
            found = json.loads(text)
            return cls(str(found["list"]), str(found["url"]), int(found["devices"]))
        except (ValueError, TypeError, KeyError) as error:
            raise SettingsError(
                f"{path} is damaged", hint="the next run of the fleet writes it anew"
            ) from error

    def write(self, directory: Path) -> None:
        """Write it, atomically and durably.

        Raises:
            SettingsError: the file system refuses.
        """
        text = json.dumps(asdict(self), indent=2) + "\n"
        write_file(directory / PLAN, text.encode(), mode=_MODE)
