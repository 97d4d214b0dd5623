"""Devices that are told what to ask for by a file: read as Apple's and Microsoft's read it.

Nothing of ours reads here, but for the words that our client is given in the end.
"""

from __future__ import annotations

import base64
import hashlib
import plistlib
import re
from dataclasses import dataclass
from xml.etree import ElementTree as ET

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

SHORT = {
    "CN": "2.5.4.3",
    "C": "2.5.4.6",
    "L": "2.5.4.7",
    "ST": "2.5.4.8",
    "S": "2.5.4.8",
    "O": "2.5.4.10",
    "OU": "2.5.4.11",
    "DC": "0.9.2342.19200300.100.1.25",
}
APPLE = {
    "rfc822Name": "email",
    "dNSName": "dns",
    "uniformResourceIdentifier": "uri",
    "ntPrincipalName": "upn",
}
WINDOWS = {"2": "email", "3": "dns", "7": "uri", "11": "upn"}
SYNCML = "{SYNCML:SYNCML1.2}"
_UUID = re.compile(r"[0-9A-F]{8}(-[0-9A-F]{4}){3}-[0-9A-F]{12}")
# A part of a name as CertStrToName reads it: quotes are doubled inside of quotes.
_PART = re.compile(r'(?:OID\.)?([0-9.]+|[A-Z]+)=("(?:[^"]|"")*"|[^,+;="<>#]*)([,+]|$)')


@dataclass(frozen=True)
class Told:
    """What a device was told.

    Attributes:
        url: where to enrol.
        ca_id: the CA identifier; "" for none.
        subject: its RDNs in the order of a Name, each of OIDs and texts.
        names: subject alternative names, each with its kind.
        challenge: the challengePassword; None for none.
        bits: of the RSA key.
        fingerprint: SHA-1 of the CA that it expects.
        trusted: the certificates that it is told to trust.
        retries: how often to poll, and how long to wait in between; None for its own numbers.
        rest: what else it was told, by name.
    """

    url: str
    ca_id: str
    subject: list[list[tuple[str, str]]]
    names: list[str]
    challenge: str | None
    bits: int
    fingerprint: bytes
    trusted: list[x509.Certificate]
    retries: tuple[int | None, int | None]
    rest: dict

    def words(self, directory):
        """Return the words for `scep enroll`, as its subject spells them."""
        roots = [one for one in self.trusted if one.subject == one.issuer]
        (root,) = roots
        der = root.public_bytes(Encoding.DER)
        assert hashlib.sha1(der).digest() == self.fingerprint
        ca = directory.with_suffix(".ca.pem")
        ca.write_bytes(root.public_bytes(Encoding.PEM))
        return [
            *("enroll", self.url, "--out", directory, "--ca", ca),
            *("--ca-id", self.ca_id, "--key", f"rsa:{self.bits}"),
            *("--subject", _rfc4514(self.subject)),
            *(word for name in self.names for word in ("--san", name)),
            *(("--challenge", self.challenge) if self.challenge else ()),
        ]


def of_apple(content):
    """Read a configuration profile, and fail where an Apple device would not take it."""
    profile = plistlib.loads(content)
    assert profile["PayloadType"] == "Configuration"
    payloads = profile["PayloadContent"]
    identifiers = [one["PayloadIdentifier"] for one in (profile, *payloads)]
    uuids = [one["PayloadUUID"] for one in (profile, *payloads)]
    assert len(set(identifiers)) == len(set(uuids)) == 1 + len(payloads)
    assert all(map(_UUID.fullmatch, uuids))
    assert all(one["PayloadVersion"] == 1 for one in (profile, *payloads))
    assert all(one["PayloadDisplayName"] for one in (profile, *payloads))
    *authorities, scep = payloads
    assert scep["PayloadType"] == "com.apple.security.scep"
    trusted = [x509.load_der_x509_certificate(one["PayloadContent"]) for one in authorities]
    for payload, one in zip(authorities, trusted, strict=True):
        is_root = one.subject == one.issuer
        assert payload["PayloadType"].endswith(".root" if is_root else ".pkcs1")
    told = scep["PayloadContent"]
    assert told["Key Type"] == "RSA"
    assert told["Key Usage"] == 5
    # As in Security/SecSCEP.c: the length says which digest it is.
    assert len(told["CAFingerprint"]) in (16, 20)
    return Told(
        url=told["URL"],
        ca_id=told["Name"],
        subject=[[(SHORT.get(k, k), text) for k, text in rdn] for rdn in told["Subject"]],
        names=[
            f"{APPLE[key]}:{text}"
            for key, texts in told.get("SubjectAltName", {}).items()
            for text in ([texts] if isinstance(texts, str) else texts)
        ],
        challenge=told.get("Challenge"),
        bits=told["Keysize"],
        fingerprint=told["CAFingerprint"],
        trusted=trusted,
        retries=(told.get("Retries"), told.get("RetryDelay")),
        rest={**profile, "scep": told},
    )


def of_windows(content):
    """Read SyncML, and fail where Windows would not take it."""
    body = ET.fromstring(content).find(f"{SYNCML}SyncBody")
    numbers = [one.text for one in body.iter(f"{SYNCML}CmdID")]
    assert numbers == [str(number + 1) for number in range(len(numbers))]
    atomic = body.find(f"{SYNCML}Atomic")
    kinds = [one.tag.removeprefix(SYNCML) for one in atomic]
    # Enroll is the last one, when all else is set.
    assert kinds[0] == "CmdID"
    assert kinds[-1] == "Exec"
    assert set(kinds[1:-1]) == {"Add"}
    (place, kind, _), *adds = map(_added, atomic[1:-1])
    assert kind == "node"
    assert re.match(r"\./(Device|User)/Vendor/MSFT/ClientCertificateInstall/SCEP/[\w.-]+$", place)
    assert atomic[-1].find(f".//{SYNCML}LocURI").text == f"{place}/Install/Enroll"
    nodes = {uri.removeprefix(f"{place}/Install/"): (kind, data) for uri, kind, data in adds}
    for name, (kind, data) in nodes.items():
        assert kind == ("int" if name in INTEGERS else "chr"), name
        assert kind == "chr" or data.isdecimal()
    value = {name: data for name, (_, data) in nodes.items()}
    assert int(value["KeyUsage"]) & 0xA0
    assert int(value["RetryCount"]) <= 30
    challenge = value.get("Challenge")
    return Told(
        url=value["ServerURL"],
        ca_id="default",
        subject=_cert_str_to_name(value["SubjectName"]),
        names=[_windows_name(one) for one in value.get("SubjectAlternativeNames", "").split(";")]
        if "SubjectAlternativeNames" in value
        else [],
        challenge=challenge and base64.b64decode(challenge, validate=True).decode("ascii"),
        bits=int(value["KeyLength"]),
        fingerprint=bytes.fromhex(value["CAThumbprint"]),
        trusted=[_installed(*_added(one)) for one in body.findall(f"{SYNCML}Add")],
        retries=(int(value["RetryCount"]), int(value["RetryDelay"])),
        rest={**value, "place": place},
    )


INTEGERS = {
    *("KeyUsage", "KeyLength", "KeyProtection", "RetryCount", "RetryDelay"),
    "ValidPeriodUnits",
}


def _added(command):
    """Return place, format and data of an Add."""
    (item,) = command.findall(f"{SYNCML}Item")
    kind = item.find(f"{SYNCML}Meta").find("{syncml:metinf}Format").text
    data = item.find(f"{SYNCML}Data")
    text = None if data is None else data.text or ""
    return item.find(f"{SYNCML}Target/{SYNCML}LocURI").text, kind, text


def _installed(place, kind, data):
    found = re.fullmatch(
        r"\./Device/Vendor/MSFT/RootCATrustedCertificates/(Root|CA)/([0-9A-F]{40})"
        r"/EncodedCertificate",
        place,
    )
    assert found
    assert kind == "b64"
    der = base64.b64decode(data, validate=True)
    assert hashlib.sha1(der).hexdigest().upper() == found[2]
    certificate = x509.load_der_x509_certificate(der)
    assert (found[1] == "Root") == (certificate.subject == certificate.issuer)
    return certificate


def _cert_str_to_name(text):
    """Read a name as CertStrToName does; the last RDN is written first."""
    rdns, at, joined = [], 0, False
    while at < len(text):
        part = _PART.match(text, at)
        assert part, text[at:]
        value = part[2]
        if value.startswith('"'):
            value = value[1:-1].replace('""', '"')
        else:
            assert value == value.strip()
        if not joined:
            rdns.append([])
        rdns[-1].append((SHORT.get(part[1], part[1]), value))
        at, joined = part.end(), part[3] == "+"
    return rdns[::-1]


def _windows_name(text):
    kind, plus, name = text.partition("+")
    assert plus
    return f"{WINDOWS[kind]}:{name}"


def _rfc4514(rdns):
    """Write a name with every character of its values as hex, which needs no care."""
    return ",".join(
        "+".join(
            "{}={}".format(oid, "".join(f"\\{octet:02x}" for octet in text.encode()))
            for oid, text in rdn
        )
        for rdn in reversed(rdns)
    )
