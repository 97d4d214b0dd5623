"""The files of a fleet's directory, while one process writes them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from scepkit.client.fleet.bundles import DIRECTORY as BUNDLES
from scepkit.client.fleet.bundles import Bundles
from scepkit.client.fleet.devices import Device
from scepkit.client.fleet.results import ResultFile, State
from scepkit.client.folder import Folder, place
from scepkit.keys.files import make_directory, refusals, remove_unfinished

DEVICES = "devices"


@dataclass(frozen=True, slots=True)
class FleetFiles:
    """The files of a fleet.

    Attributes:
        results: what became of each device.
        bundles: the PKCS#12 files; None without.
        devices: the directory of the devices' directories.
    """

    results: ResultFile
    bundles: Bundles | None
    devices: Path

    def folder(self, device: Device) -> Folder:
        """Return the directory of a device."""
        return Folder(self.devices / device.file_name)

    def make_devices(self) -> None:
        """Make the directory of the devices' directories.

        Not by the first device: when that is refused, its directory goes again.

        Raises:
            SettingsError: the file system refuses.
        """
        with refusals(f"cannot make the directory {self.devices}"):
            make_directory(self.devices)

    def is_done(self, device: Device) -> bool:
        """Say whether a device has all that it is to have."""
        return (
            self.results.state(device.name) is State.DONE
            and self.folder(device).files()["cert"].exists()
            and (self.bundles is None or self.bundles.path(device.file_name).exists())
        )


@contextmanager
def opened(directory: Path, *, pkcs12: bool, legacy: bool = False) -> Iterator[FleetFiles]:
    """Keep other processes from changing a fleet's directory, which is made if need be.

    Args:
        directory: the fleet's.
        pkcs12: whether there are PKCS#12 files.
        legacy: whether those are encrypted for old importers.

    Raises:
        SettingsError: another process holds it, or a file cannot be used.
    """
    with ExitStack() as stack:
        stack.enter_context(place.locked(directory, inner=False))
        results = stack.enter_context(closing(ResultFile(directory)))
        bundles = None
        if pkcs12:
            bundles = stack.enter_context(closing(Bundles(directory, legacy=legacy)))
        # What a process that was killed had half written.
        remove_unfinished(directory)
        remove_unfinished(directory / BUNDLES)
        yield FleetFiles(results, bundles, directory / DEVICES)
