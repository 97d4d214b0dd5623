"""Apple's configuration profile: the CA's certificates and a SCEP payload, as a property list.

The keys are those of github.com/apple/device-management, mdm/profiles: TopLevel,
CommonPayloadKeys, com.apple.security.scep, com.apple.security.root, com.apple.security.pkcs1.
"""

from __future__ import annotations

import plistlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from uuid import NAMESPACE_URL, UUID, uuid5

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

from scepkit.errors import UsageError
from scepkit.operations.configuration.enrolment import check_text, is_root, thumbprint
from scepkit.protocol.distinguished_name import Name

if TYPE_CHECKING:
    from cryptography import x509

    from scepkit.keys.pem import PrivateKey
    from scepkit.operations.configuration.enrolment import DeviceEnrolment
    from scepkit.protocol.general_name import GeneralName

# Of the attributes, the payload has short names for these alone.
_SHORT = frozenset({"C", "L", "ST", "O", "OU", "CN"})
_NAMES = {
    "dns": "dNSName",
    "email": "rfc822Name",
    "uri": "uniformResourceIdentifier",
    "upn": "ntPrincipalName",
}
_IDENTIFIER = re.compile(r"[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*")
_SIGNING, _ENCRYPTION = 1, 4
# Half a day, where a person decides; the device's own numbers are half a minute.
_RETRIES, _RETRY_SECONDS = 720, 60


@dataclass(frozen=True, slots=True)
class AppleProfile:
    """An operator's choices for a configuration profile.

    Attributes:
        identifier: of the profile; a device has one profile of an identifier, and a later one
            takes its place. "" for one that is made of the URL and the endpoint.
        display_name: what the device calls it; "" for one that is made up.
        organization: who gave it out; "" for nobody.
        scope: `System` or `User`: whose keychain a Mac puts it into.
        retries: how often the device asks while its request is pending; None for a number that
            suits the endpoint.
        retry_seconds: the time between two of these; None as well.
        is_extractable: whether a Mac lets the private key out of the keychain.
        allows_all_apps: whether all programs of a Mac may use the private key.
        is_permanent: whether the user of a supervised device cannot remove it.
    """

    identifier: str = ""
    display_name: str = ""
    organization: str = ""
    scope: str = "System"
    retries: int | None = None
    retry_seconds: int | None = None
    is_extractable: bool = False
    allows_all_apps: bool = False
    is_permanent: bool = False


def identifier(enrolment: DeviceEnrolment) -> str:
    """Return the identifier that a profile has unless it is chosen: the host in reverse order."""
    host = urlsplit(enrolment.url).hostname or "host"
    labels = [re.sub(r"[^a-z0-9-]+", "-", label) for label in host.strip(".").split(".")]
    if host.replace(".", "").isdigit() or ":" in host:
        labels = ["-".join(labels)]
    return ".".join([*reversed(labels), "scep", enrolment.endpoint])


def mobileconfig(enrolment: DeviceEnrolment, profile: AppleProfile) -> bytes:
    """Write a configuration profile.

    UUIDs are made of what a payload is of, so that a device takes the same one, written again,
    for the same one.

    Args:
        enrolment: what the device is to ask for.
        profile: how.

    Raises:
        UsageError: an iPhone or a Mac cannot ask for that.
    """
    for what, text in (
        ("the name to show", profile.display_name),
        ("the organization", profile.organization),
    ):
        check_text(what, text)
    own = profile.identifier or identifier(enrolment)
    if not _IDENTIFIER.fullmatch(own):
        raise UsageError(
            f"{own!r} can be no identifier",
            hint="write it like com.example.vpn: letters, digits, - .",
        )
    payloads = [*_authorities(own, enrolment.chain), _scep(own, enrolment, profile)]
    title = profile.display_name or f"Certificate for {enrolment.common_name}"
    top = _payload("Configuration", own, _uuid(own), title) | {
        "PayloadDescription": f"Gets a certificate from {enrolment.url} and trusts its CA.",
        "PayloadScope": profile.scope,
        "PayloadRemovalDisallowed": profile.is_permanent,
        "PayloadContent": payloads,
    }
    if profile.organization:
        top["PayloadOrganization"] = profile.organization
    return plistlib.dumps(top, sort_keys=False)


def signed(content: bytes, chain: Iterable[x509.Certificate], key: PrivateKey) -> bytes:
    """Sign a profile, so that the device shows who it is from: CMS SignedData over it, DER.

    Args:
        content: the profile.
        chain: the certificate of the signer, and those above.
        key: the signer's.

    Raises:
        UsageError: the key is not that of the certificate.
    """
    own, *above = chain
    if own.public_key() != key.public_key():
        raise UsageError("the key to sign with is not that of the certificate")
    builder = pkcs7.PKCS7SignatureBuilder().set_data(content)
    builder = builder.add_signer(own, key, hashes.SHA256())
    for certificate in above:
        builder = builder.add_certificate(certificate)
    return builder.sign(Encoding.DER, [pkcs7.PKCS7Options.Binary])


def _payload(kind: str, identifier: str, uuid: UUID, title: str) -> dict[str, Any]:
    return {
        "PayloadType": kind,
        "PayloadVersion": 1,
        "PayloadIdentifier": identifier,
        "PayloadUUID": str(uuid).upper(),
        "PayloadDisplayName": title,
    }


def _uuid(*parts: str) -> UUID:
    return uuid5(NAMESPACE_URL, "\n".join(parts))


def _authorities(own: str, chain: Iterable[x509.Certificate]) -> Iterable[dict[str, Any]]:
    """Return a payload for each certificate of the CA: it is trusted if it is a root."""
    for certificate in chain:
        kind = "root" if is_root(certificate) else "pkcs1"
        digest = thumbprint(certificate).hex()
        title = str(Name.of(certificate.subject))
        payload = _payload(
            f"com.apple.security.{kind}", f"{own}.ca.{digest[:16]}", _uuid(own, digest), title
        )
        yield payload | {
            "PayloadCertificateFileName": f"{digest[:16]}.cer",
            "PayloadContent": certificate.public_bytes(Encoding.DER),
        }


def _scep(own: str, enrolment: DeviceEnrolment, profile: AppleProfile) -> dict[str, Any]:
    content: dict[str, Any] = {
        "URL": enrolment.url,
        "Name": enrolment.endpoint,
        "Subject": _subject(enrolment.subject),
        "Key Type": "RSA",
        "Keysize": enrolment.key_size,
        "Key Usage": _SIGNING | _ENCRYPTION,
        # Security/SecSCEP.c takes MD5 and SHA-1, and refuses any other length.
        "CAFingerprint": thumbprint(enrolment.shown_top),
        "KeyIsExtractable": profile.is_extractable,
        "AllowAllAppsAccess": profile.allows_all_apps,
    }
    if enrolment.names:
        content["SubjectAltName"] = _alternative_names(enrolment.names)
    if enrolment.challenge:
        content["Challenge"] = enrolment.challenge
    for key, chosen, where_it_waits in (
        ("Retries", profile.retries, _RETRIES),
        ("RetryDelay", profile.retry_seconds, _RETRY_SECONDS),
    ):
        if chosen is not None or enrolment.polls:
            content[key] = where_it_waits if chosen is None else chosen
    what = (enrolment.url, str(enrolment.subject), *map(str, enrolment.names))
    payload = _payload(
        "com.apple.security.scep", f"{own}.device", _uuid(own, *what), enrolment.common_name
    )
    return payload | {"PayloadContent": content}


def _subject(subject: Name) -> list[list[list[str]]]:
    return [
        [
            [one.label if one.label in _SHORT else one.known_oid().dotted_string, one.text()]
            for one in rdn
        ]
        for rdn in subject.rdns
    ]


def _alternative_names(names: Iterable[GeneralName]) -> dict[str, str | list[str]]:
    found: dict[str, list[str]] = {}
    for one in names:
        if one.kind not in _NAMES:
            raise UsageError(
                f"an iPhone or a Mac cannot ask for the name {one}",
                hint=f"it asks for names of the kinds {', '.join(_NAMES)}",
            )
        found.setdefault(_NAMES[one.kind], []).append(one.string)
    return {key: texts[0] if len(texts) == 1 else texts for key, texts in found.items()}
