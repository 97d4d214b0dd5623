"""The first certificates of a new CA: its own, and that of its RA."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.x509.oid import NameOID

from scepkit.ca.authority import random_serial
from scepkit.ca.extensions import key_usage
from scepkit.ca.profile import BACKDATE, Profile
from scepkit.ca.subject_rules import certified_subject
from scepkit.errors import BadRequest, UsageError
from scepkit.keys.pem import signature_hash
from scepkit.protocol.distinguished_name import Name
from scepkit.protocol.extensions import NO_EXTENSIONS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from scepkit.ca.authority import Authority
    from scepkit.keys.pem import PrivateKey

CA_VALIDITY = timedelta(days=3652)
"""Ten years."""

RA_VALIDITY = timedelta(days=730)
"""Two years, as NDES has it, cut where the CA ends: short enough that a new RA is nothing that
happens once, long enough for a server that nobody starts for a while."""

# No extendedKeyUsage: none is registered for SCEP, and devices stumble over those made up.
_RA_PROFILE = Profile(default_eku=())


def ca_name(common_name: str, organization: str | None = None) -> x509.Name:
    """Build the name of a CA.

    Raises:
        UsageError: empty or longer than RFC 5280 allows; " RA" must still fit.
    """
    with _refusals(common_name):
        x509.NameAttribute(NameOID.COMMON_NAME, _ra_common_name(common_name))
        attributes = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)]
        if organization is not None:
            attributes.insert(0, x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization))
        name = x509.Name(attributes)
        certified_subject(Name.of(name))
    return name


def renamed(name: x509.Name, common_name: str) -> x509.Name:
    """Put another common name into the name of a CA; the rest stays.

    Raises:
        UsageError: empty or longer than RFC 5280 allows; " RA" must still fit.
    """
    with _refusals(common_name):
        x509.NameAttribute(NameOID.COMMON_NAME, _ra_common_name(common_name))
        common = x509.NameAttribute(NameOID.COMMON_NAME, common_name)
        rest = [one for one in name if one.oid != NameOID.COMMON_NAME]
        renamed = x509.Name([*rest, common])
        certified_subject(Name.of(renamed))
    return renamed


def common_name_of(name: x509.Name) -> str:
    """Return the common name of a CA; "CA" for a foreign one that has none."""
    found = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(found[0].value) if found else "CA"


def self_signed(
    key: PrivateKey, name: x509.Name, *, now: datetime, decrypts: bool
) -> x509.Certificate:
    """Issue a CA certificate to itself (RFC 5280 section 4.2.1).

    Args:
        key: the CA's.
        name: the CA's.
        now: the time, aware.
        decrypts: this key is the RA's too, so keyUsage has keyEncipherment.
    """
    # digitalSignature always: RFC 8894 section 2.1.2, and macOS 10.13.4 refused CAs without it.
    usages = {"key_cert_sign", "crl_sign", "digital_signature"}
    ski = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    aki = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(ski)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(random_serial())
        .not_valid_before(now - BACKDATE)
        .not_valid_after(now + CA_VALIDITY)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(
            key_usage(usages | ({"key_encipherment"} if decrypts else set())), critical=True
        )
        .add_extension(ski, critical=False)
        .add_extension(aki, critical=False)
        .sign(key, signature_hash(key))
    )


def ra_certificate(
    ca: Authority, key: PrivateKey, *, now: datetime, validity: timedelta = RA_VALIDITY
) -> x509.Certificate:
    """Issue the certificate of the RA, which decrypts requests and signs replies.

    Args:
        ca: the issuer.
        key: the RA's, RSA.
        now: the time, aware.
        validity: how long from now on; the CA's end cuts it.
    """
    return ca.issue(
        subject=Name.of(_ra_name(ca.certificate.subject)),
        public_key=key.public_key(),
        requested=NO_EXTENSIONS,
        profile=replace(_RA_PROFILE, validity=validity),
        now=now,
    )


@contextmanager
def _refusals(common_name: str) -> Iterator[None]:
    try:
        yield
    except (ValueError, BadRequest) as error:
        raise UsageError(
            f"{common_name!r} cannot name a CA", hint="1 to 61 octets for the name, 64 for the O"
        ) from error


def _ra_name(name: x509.Name) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(attribute.oid, _ra_common_name(str(attribute.value)))
            if attribute.oid == NameOID.COMMON_NAME
            else attribute
            for attribute in name
        ]
    )


def _ra_common_name(common_name: str) -> str:
    return f"{common_name} RA"
