"""Facts of this machine in a subject or an alternative name: `CN={hostname}`, `dns:{fqdn}`.

    {hostname}  the machine's name, as `hostname` prints it
    {fqdn}      its full name, as `hostname --fqdn` does
    {serial}    the serial number that its maker gave it

`{{` and `}}` stand for braces. A fact is text of one attribute or name wherever it stands: what has
a meaning in there is escaped, so that no fact can add an attribute.
"""

from __future__ import annotations

import difflib
import re
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import quote

from scepkit.errors import SettingsError, UsageError
from scepkit.protocol.general_name import WRITTEN_KINDS

_PLACE = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_DNS, _PLAIN = re.compile(r"[A-Za-z0-9._-]+"), re.compile(r"[A-Za-z0-9.-]")

# Of SMBIOS, which root alone may read; of a device tree, as a Raspberry Pi has one.
SERIAL_FILES = (
    Path("/sys/class/dmi/id/product_serial"),
    Path("/sys/firmware/devicetree/base/serial-number"),
)
_MOST_OCTETS = 4096
# Of machines whose maker gave them none: all of these would have the same certificate.
_NO_SERIAL = re.compile(
    r"0*|1234567890?|(system|chassis)?\s*serial\s*number|default\s*string|none|n/?a|not\s.*"
    r"|to\s*be\s*filled.*|x+|invalid|unknown|o\.?e\.?m\.?",
    re.IGNORECASE,
)
_WRITE_IT = "write the value itself in its place"


def hostname() -> str:
    """Return the name of this machine.

    Raises:
        SettingsError: it has none.
    """
    name = socket.gethostname()
    if not name or name == "localhost":
        raise SettingsError(
            "this machine has no name of its own for {hostname}",
            hint=f"set it (hostnamectl hostname NAME), or {_WRITE_IT}",
        )
    return name


def full_name() -> str:
    """Return the fully qualified name of this machine.

    Raises:
        SettingsError: none is known.
    """
    name = hostname()
    if "." in name:
        return name
    try:
        found = socket.getaddrinfo(name, None, flags=socket.AI_CANONNAME)
        names = [one[3] for one in found if one[3]]
    except OSError:
        names = []
    whole = next((one for one in names if "." in one and not one.startswith("localhost")), None)
    if whole is None:
        raise SettingsError(
            f"no domain is known for this machine ({name}), as {{fqdn}} needs it",
            hint=f"add its full name to /etc/hosts (hostname --fqdn shows it), or {_WRITE_IT}",
        )
    return whole.rstrip(".")


def serial_number() -> str:
    """Return the serial number of this machine.

    Raises:
        SettingsError: this user may not read it, or its maker gave it none.
    """
    for path in SERIAL_FILES:
        try:
            with path.open("rb") as file:
                text = file.read(_MOST_OCTETS).rstrip(b"\0\n").decode("utf-8", "replace").strip()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise SettingsError(
                f"cannot read {path}: {error.strerror}, as {{serial}} needs it",
                hint=f"run the command as root, or {_WRITE_IT} (dmidecode -s system-serial-number)",
            ) from error
        if _NO_SERIAL.fullmatch(text) or not text.isprintable():
            raise SettingsError(
                f"the maker of this machine gave it no serial number: {path} says {text!r}",
                hint=_WRITE_IT,
            )
        return text
    raise SettingsError("this machine has no serial number for {serial}", hint=_WRITE_IT)


FACTS: Mapping[str, Callable[[], str]] = {
    "hostname": hostname,
    "fqdn": full_name,
    "serial": serial_number,
}
"""The facts by their names; each is looked up when it is asked for."""


def fill_subject(text: str) -> str:
    """Return a subject (RFC 4514) with the facts that it names.

    Raises:
        UsageError: there is no such fact, or a brace has no partner.
        SettingsError: a fact is not known of this machine.
    """
    return _filled(text, _in_subject)


def fill_name(text: str) -> str:
    """Return a subject alternative name, as `parse_san` reads it, with the facts that it names.

    Raises:
        UsageError: there is no such fact, or a brace has no partner, or a fact cannot be in a name
            of this kind.
        SettingsError: a fact is not known of this machine.
    """
    kind = text.partition(":")[0].lower()
    if kind in ("dirname", "dir"):
        return _filled(text, _in_subject)
    if kind == "uri" or "://" in text:
        return _filled(text, lambda _, value: quote(value, safe=""))
    if kind not in WRITTEN_KINDS and _PLACE.search(text):
        # Not to be guessed from what a machine says of itself.
        text = f"email:{text}" if "@" in text else f"dns:{text}"
    return _filled(text, _in_name)


def _filled(text: str, written: Callable[[str, str], str]) -> str:
    found: dict[str, str] = {}

    def fact(place: re.Match[str]) -> str:
        if place[0] in ("{{", "}}"):
            return place[0][0]
        name = place[1]
        if name is None:
            raise UsageError(
                f"{text!r}: {place[0]!r} has no partner", hint="{{ and }} stand for { and }"
            )
        if name not in FACTS:
            raise _unknown(text, name)
        if name not in found:
            found[name] = FACTS[name]()
        return written(name, found[name])

    return _PLACE.sub(fact, text)


def _unknown(text: str, name: str) -> UsageError:
    near = difflib.get_close_matches(name.strip().lower(), FACTS, n=1)
    meant = f"did you mean {{{near[0]}}}? " if near else ""
    known = ", ".join(f"{{{one}}}" for one in FACTS)
    return UsageError(
        f"{text!r}: {{{name}}} is no fact of this machine",
        hint=f"{meant}there are {known}; {{{{ and }}}} stand for braces",
    )


def _in_subject(_name: str, value: str) -> str:
    return "".join(one if _PLAIN.fullmatch(one) else _octets(one) for one in value)


def _octets(character: str) -> str:
    return "".join(f"\\{one:02X}" for one in character.encode("utf-8", "replace"))


def _in_name(name: str, value: str) -> str:
    """Refuse a fact in a host name, an address or a UPN that has other letters than those."""
    if not _DNS.fullmatch(value):
        raise UsageError(
            f"{{{name}}} of this machine is {value!r}, which cannot be part of such a name",
            hint=_WRITE_IT,
        )
    return value
