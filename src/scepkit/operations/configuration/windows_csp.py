"""SyncML for Windows: the nodes of ClientCertificateInstall/SCEP, and the CA's certificates.

The nodes and their formats are those of Microsoft's ClientCertificateInstall CSP and
RootCATrustedCertificates CSP.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING
from uuid import NAMESPACE_URL, uuid5
from xml.etree import ElementTree as ET

from cryptography.hazmat.primitives.serialization import Encoding

from scepkit.errors import UsageError
from scepkit.operations.configuration.enrolment import is_root, thumbprint
from scepkit.protocol.asn1.strings import PRINTABLE

if TYPE_CHECKING:
    from cryptography.x509 import ObjectIdentifier

    from scepkit.operations.configuration.enrolment import DeviceEnrolment
    from scepkit.protocol.distinguished_name import Name, NameAttribute
    from scepkit.protocol.general_name import GeneralName

_SYNCML, _METADATA = "SYNCML:SYNCML1.2", "syncml:metinf"
_CERTIFICATES = "./Device/Vendor/MSFT/RootCATrustedCertificates"
_IDENTIFIER = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}")
# XCN_CERT_ALT_NAME_… of certenroll.h.
_FORMATS = {"email": 2, "dns": 3, "uri": 7, "upn": 11}
# The attributes that CertStrToName has names for and which it writes the same way back.
_KEYS = {"CN": "CN", "C": "C", "L": "L", "ST": "S", "O": "O", "OU": "OU", "DC": "DC"}
# digitalSignature and keyEncipherment.
_KEY_USAGE = 0x80 | 0x20
# RetryCount and RetryDelay, in minutes: where a person decides, a day and more.
_USUAL_RETRIES, _RETRIES_OF_A_PERSON = (3, 5), (30, 60)
# What has to be in quotes, as CertNameToStr has it.
_SPECIAL = frozenset(',=+;"<>#\n')


class KeyProtection(StrEnum):
    """The places where Windows keeps a private key."""

    TPM = "tpm"
    TPM_OR_SOFTWARE = "tpm-or-software"
    SOFTWARE = "software"
    HELLO = "hello"

    @property
    def number(self) -> int:
        """Return the value of the node KeyProtection."""
        return [*KeyProtection].index(self) + 1


@dataclass(frozen=True, slots=True)
class WindowsNodes:
    """An operator's choices for the nodes of a computer.

    Attributes:
        identifier: of the enrolment; "" for one that is made of what it is of.
        is_user: whether the certificate is the user's, and not the computer's.
        purposes: the extended key usages to ask for.
        protection: where the private key is kept.
        container: the Windows Hello container; needed for that protection, and for no other.
        retries: how often the computer asks while its request is pending; None for a number that
            suits the endpoint.
        retry_minutes: the time between two of these; None as well.
        days: the validity to ask for; None for that of the profile.
        template: the OID of a certificate template to name; "" for none.
    """

    identifier: str = ""
    is_user: bool = False
    purposes: tuple[ObjectIdentifier, ...] = ()
    protection: KeyProtection = KeyProtection.TPM_OR_SOFTWARE
    container: str = ""
    retries: int | None = None
    retry_minutes: int | None = None
    days: int | None = None
    template: str = ""


def identifier(enrolment: DeviceEnrolment) -> str:
    """Return the identifier that an enrolment has unless it is chosen: made of what it is of."""
    what = (enrolment.url, str(enrolment.subject), *map(str, enrolment.names))
    return str(uuid5(NAMESPACE_URL, "\n".join(what))).upper()


def windows_csp(enrolment: DeviceEnrolment, nodes: WindowsNodes) -> bytes:
    """Write the SyncML that an MDM sends to a computer.

    Args:
        enrolment: what the computer is to ask for.
        nodes: how.

    Raises:
        UsageError: Windows cannot ask for that.
    """
    root = ET.Element("SyncML", {"xmlns": _SYNCML})
    body = ET.SubElement(root, "SyncBody")
    commands = _Commands()
    # Before the block: one that is there already must not undo the rest.
    for certificate in enrolment.chain:
        store = "Root" if is_root(certificate) else "CA"
        uri = f"{_CERTIFICATES}/{store}/{thumbprint(certificate).hex().upper()}/EncodedCertificate"
        encoded = b64encode(certificate.public_bytes(Encoding.DER)).decode("ascii")
        commands.add(body, uri, "b64", encoded)
    atomic = ET.SubElement(body, "Atomic")
    commands.number(atomic)
    owner = "User" if nodes.is_user else "Device"
    place = f"./{owner}/Vendor/MSFT/ClientCertificateInstall/SCEP/{_checked(enrolment, nodes)}"
    commands.add(atomic, place, "node")
    for name, value in _install(enrolment, nodes):
        kind = "int" if isinstance(value, int) else "chr"
        commands.add(atomic, f"{place}/Install/{name}", kind, str(value))
    commands.execute(atomic, f"{place}/Install/Enroll")
    ET.SubElement(body, "Final")
    ET.indent(root)
    text: str = ET.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="utf-8"?>\n{text}\n'.encode()


class _Commands:
    """Commands of SyncML, numbered in their order."""

    def __init__(self) -> None:
        self._count = 0

    def number(self, command: ET.Element) -> None:
        """Give a command its number."""
        self._count += 1
        ET.SubElement(command, "CmdID").text = str(self._count)

    def add(self, parent: ET.Element, uri: str, kind: str, value: str = "") -> None:
        """Add a node with a value of a format; a `node` has none."""
        item = self._item(parent, "Add", uri)
        meta = ET.SubElement(item, "Meta")
        ET.SubElement(meta, "Format", {"xmlns": _METADATA}).text = kind
        if kind != "node":
            ET.SubElement(item, "Data").text = value

    def execute(self, parent: ET.Element, uri: str) -> None:
        """Execute a node."""
        self._item(parent, "Exec", uri)

    def _item(self, parent: ET.Element, name: str, uri: str) -> ET.Element:
        command = ET.SubElement(parent, name)
        self.number(command)
        item = ET.SubElement(command, "Item")
        target = ET.SubElement(item, "Target")
        ET.SubElement(target, "LocURI").text = uri
        return item


def _checked(enrolment: DeviceEnrolment, nodes: WindowsNodes) -> str:
    """Return the identifier, where nothing is wrong with the choices.

    Raises:
        UsageError: something is.
    """
    if (nodes.protection is KeyProtection.HELLO) != bool(nodes.container):
        raise UsageError(
            "the protection hello and the name of a Windows Hello container belong together"
        )
    if nodes.protection is KeyProtection.HELLO and enrolment.key_size != 2048:  # noqa: PLR2004
        raise UsageError("Windows Hello makes keys of 2048 bits alone")
    if not PRINTABLE.issuperset(enrolment.challenge):
        raise UsageError(
            "the challenge has characters that Windows cannot send",
            hint="letters and digits of ASCII, space, and ' ( ) + , - . / : = ?",
        )
    if ";" in enrolment.url:
        raise UsageError(f"Windows cannot be given the URL {enrolment.url}: a ; ends a URL there")
    found = nodes.identifier or identifier(enrolment)
    if not _IDENTIFIER.fullmatch(found):
        raise UsageError(
            f"{found!r} can be no identifier", hint="1 to 64 letters and digits of ASCII, - _ ."
        )
    return found


def _install(enrolment: DeviceEnrolment, nodes: WindowsNodes) -> Iterable[tuple[str, int | str]]:
    """Return the nodes below Install with their values."""
    usual = _RETRIES_OF_A_PERSON if enrolment.polls else _USUAL_RETRIES
    yield "ServerURL", enrolment.url
    if enrolment.challenge:
        yield "Challenge", b64encode(enrolment.challenge.encode("ascii")).decode("ascii")
    yield "EKUMapping", "+".join(one.dotted_string for one in nodes.purposes)
    yield "KeyUsage", _KEY_USAGE
    yield "SubjectName", _subject(enrolment.subject)
    if enrolment.names:
        yield "SubjectAlternativeNames", ";".join(map(_alternative_name, enrolment.names))
    yield "KeyProtection", nodes.protection.number
    if nodes.container:
        yield "ContainerName", nodes.container
    yield "KeyLength", enrolment.key_size
    yield "HashAlgorithm", "SHA-2"
    yield "CAThumbprint", thumbprint(enrolment.chain[-1]).hex().upper()
    yield "RetryCount", usual[0] if nodes.retries is None else nodes.retries
    yield "RetryDelay", usual[1] if nodes.retry_minutes is None else nodes.retry_minutes
    if nodes.days is not None:
        yield "ValidPeriod", "Days"
        yield "ValidPeriodUnits", nodes.days
    if nodes.template:
        yield "TemplateName", nodes.template


def _subject(subject: Name) -> str:
    """Return a name as CertStrToName reads it, the last RDN first."""
    return ",".join("+".join(map(_attribute, rdn)) for rdn in reversed(subject.rdns))


def _attribute(one: NameAttribute) -> str:
    key = _KEYS.get(one.label) or f"OID.{one.known_oid().dotted_string}"
    text = one.text()
    if text.strip() != text or not _SPECIAL.isdisjoint(text):
        text = '"{}"'.format(text.replace('"', '""'))
    return f"{key}={text}"


def _alternative_name(one: GeneralName) -> str:
    if one.kind not in _FORMATS:
        raise UsageError(
            f"Windows cannot be told to ask for the name {one}",
            hint=f"it asks for names of the kinds {', '.join(_FORMATS)}",
        )
    if ";" in one.string:
        raise UsageError(
            f"Windows cannot be told to ask for the name {one}", hint="a ; ends a name there"
        )
    return f"{_FORMATS[one.kind]}+{one.string}"
