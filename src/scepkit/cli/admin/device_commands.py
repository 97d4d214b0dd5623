"""The commands that get a device a certificate from an endpoint, by the program that it has.

docs/how-to/other-clients.md and devices.md have more of each.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from scepkit.server.endpoints.description import EndpointDescription


@dataclass(frozen=True, slots=True)
class DeviceCommands:
    """The commands that get one kind of device its certificate.

    Attributes:
        program: what it is for, in one word.
        heading: for whom, and what else to know.
        lines: what to type.
    """

    program: str
    heading: str
    lines: tuple[str, ...]


def device_commands(
    endpoint: EndpointDescription, fingerprint: str, directory: Path
) -> list[DeviceCommands]:
    """Return what to type, for each kind of device.

    Args:
        endpoint: where they enrol.
        fingerprint: of its CA's certificate, as `scep enroll` takes it.
        directory: the server's.
    """
    url, has_ra = shlex.quote(endpoint.url), endpoint.ra is not None
    asks = bool(endpoint.settings.challenge_kinds)
    here = "" if endpoint.name == "default" else f" {endpoint.name}"
    at = f"{here} --subject CN=device1,O=Example --dir {shlex.quote(str(directory))}"
    found = [
        DeviceCommands("scepkit", "scepkit", _scepkit(url, fingerprint, asks=asks)),
        DeviceCommands("strongswan", "strongSwan", _strongswan(url, asks=asks, has_ra=has_ra)),
        DeviceCommands("certmonger", "certmonger", _certmonger(url, asks=asks, has_ra=has_ra)),
        DeviceCommands(
            "cisco-ios",
            "Cisco IOS; compare the fingerprint that authenticate shows",
            _cisco_ios(endpoint.url, asks=asks),
        ),
        DeviceCommands(
            "apple",
            "iPhone, iPad and Mac, on the server",
            (f"scep mobileconfig{at} --out device1.mobileconfig",),
        ),
        DeviceCommands(
            "windows",
            "Windows, by an MDM, on the server",
            (f"scep windows-csp{at} --out device1.xml",),
        ),
    ]
    if endpoint.url.startswith("http://"):
        heading = "sscep; device.csr holds the challenge" if asks else "sscep"
        found.insert(3, DeviceCommands("sscep", heading, _sscep(url, has_ra=has_ra)))
    return found


def _scepkit(url: str, fingerprint: str, *, asks: bool) -> tuple[str, ...]:
    challenge = " --challenge CHALLENGE" if asks else ""
    return (
        (
            f"scep enroll {url} --fingerprint {fingerprint} "
            f"--subject CN=device1,O=Example{challenge} --out device1"
        ),
    )


def _strongswan(url: str, *, asks: bool, has_ra: bool) -> tuple[str, ...]:
    ra = "ra.pem" if has_ra else "ca.pem"
    shown = " --raout ra.pem" if has_ra else ""
    password = " --password CHALLENGE" if asks else ""
    return (
        f"pki --scepca --url {url} --caout ca.pem{shown} --outform pem",
        "pki --gen --type rsa --size 2048 --outform pem > device1.key",
        (
            f'pki --scep --url {url} --in device1.key --dn "O=Example, CN=device1"{password} '
            f"--cacert-enc {ra} --cacert-sig {ra} --cacert ca.pem --outform pem > device1.pem"
        ),
    )


def _certmonger(url: str, *, asks: bool, has_ra: bool) -> tuple[str, ...]:
    ca = "" if has_ra else " -N ca.pem"
    challenge = " -L CHALLENGE" if asks else ""
    return (
        f"getcert add-scep-ca -c scepkit -u {url}{ca}",
        (
            f"getcert request -c scepkit -I device1{challenge} -k /etc/ssl/device1.key "
            '-f /etc/ssl/device1.crt -N "CN=device1,O=Example" -w'
        ),
    )


def _sscep(url: str, *, has_ra: bool) -> tuple[str, ...]:
    peer = "ca-0" if has_ra else "ca"
    return (
        f"sscep getca -u {url} -c ca",
        f"sscep enroll -u {url} -c {peer} -k device1.key -r device1.csr -l device1.crt",
    )


def _cisco_ios(url: str, *, asks: bool) -> tuple[str, ...]:
    return (
        "crypto key generate rsa modulus 2048 label scep",
        "crypto pki trustpoint scep",
        f" enrollment url {url}",
        " subject-name CN=device1,O=Example",
        " fqdn none",
        " serial-number none",
        " ip-address none",
        " rsakeypair scep 2048",
        " hash sha256",
        *([" password CHALLENGE"] if asks else []),
        "crypto pki authenticate scep",
        "crypto pki enroll scep",
    )
