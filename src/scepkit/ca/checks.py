"""Checks at start that a certificate is fit for its role, so that no device finds out first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from scepkit.errors import SettingsError
from scepkit.protocol.distinguished_name import Name

if TYPE_CHECKING:
    from datetime import datetime

    from scepkit.keys.pem import PrivateKey

CA_NEEDS = ("key_cert_sign",)
RA_NEEDS = ("digital_signature", "key_encipherment")

_MOST_OCTETS = 64  # RFC 5280 appendix A: ub-common-name, as the library counts it

_RFC_NAMES = {
    "digital_signature": "digitalSignature",
    "key_encipherment": "keyEncipherment",
    "key_cert_sign": "keyCertSign",
    "crl_sign": "cRLSign",
}


def needs_alone(certificate: x509.Certificate) -> tuple[str, ...]:
    """Name the bits that a CA needs to be its own RA (RFC 8894 section 2.1.2).

    Only an RSA key decrypts; with an EC one RFC 5480 section 3 forbids keyEncipherment.
    """
    is_rsa = isinstance(certificate.public_key(), rsa.RSAPublicKey)
    return RA_NEEDS if is_rsa else ("digital_signature",)


def needs_ra(certificate: x509.Certificate) -> bool:
    """Say whether a CA needs an RA beside it: one that may not decrypt or sign replies does."""
    is_rsa = isinstance(certificate.public_key(), rsa.RSAPublicKey)
    return not is_rsa or not may_be_alone(certificate)


def may_be_alone(certificate: x509.Certificate) -> bool:
    """Say whether the keyUsage of a CA lets it do without an RA; see `needs_alone`."""
    return has_key_usage(certificate, *needs_alone(certificate))


def check_key_usage(
    certificate: x509.Certificate,
    *needs: str,
    hint: str = "devices would refuse it (RFC 8894 section 2.1.2); use a certificate that has it",
) -> None:
    """Refuse a certificate whose keyUsage lacks a bit that its role needs (RFC 8894 section 2.1.2).

    Args:
        certificate: the CA's or the RA's.
        needs: names of bits, as `x509.KeyUsage` spells them; see `CA_NEEDS` and `RA_NEEDS`.
        hint: what to do about it.

    Raises:
        SettingsError: bits are missing, or there is no keyUsage at all.
    """
    lacking = _lacking(certificate, needs)
    if lacking:
        raise SettingsError(
            f"the keyUsage of {label(certificate)} lacks "
            + ", ".join(_RFC_NAMES[need] for need in lacking),
            hint=hint,
        )


def has_key_usage(certificate: x509.Certificate, *needs: str) -> bool:
    """Tell whether a certificate's keyUsage has all these bits; see `check_key_usage`."""
    return not _lacking(certificate, needs)


def check_is_ca(certificate: x509.Certificate) -> None:
    """Refuse a certificate that is not a CA's (RFC 5280 section 4.2.1.9).

    Raises:
        SettingsError: basicConstraints is missing or says CA:FALSE, or an extension is damaged.
    """
    try:
        extensions = certificate.extensions
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
        raise SettingsError(
            f"the extensions of {label(certificate)} cannot be read",
            hint="openssl x509 -noout -text shows them; have it issued without the damaged one",
        ) from error
    try:
        constraints = extensions.get_extension_for_class(x509.BasicConstraints).value
    except x509.ExtensionNotFound:
        constraints = x509.BasicConstraints(ca=False, path_length=None)
    if not constraints.ca:
        raise SettingsError(f"{label(certificate)} is not a CA's: no basicConstraints CA:TRUE")


def check_key(certificate: x509.Certificate, key: PrivateKey) -> None:
    """Refuse a private key that is not the certificate's.

    Raises:
        SettingsError: they do not belong together.
    """
    if key.public_key() != certificate.public_key():
        raise SettingsError(
            f"the private key is not that of {label(certificate)}",
            hint="two files of different CAs or of different times were mixed",
        )


def has_key(certificate: x509.Certificate, key: object) -> bool:
    """Tell whether a certificate is for a public key; not, if its own is of a kind unknown here."""
    try:
        return certificate.public_key() == key
    except (ValueError, UnsupportedAlgorithm):
        return False


def check_validity(certificate: x509.Certificate, now: datetime) -> None:
    """Refuse a certificate that is not valid now.

    Raises:
        SettingsError: expired, or not valid yet.
    """
    start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if now >= end:
        raise SettingsError(
            f"{label(certificate)} expired on {end:%Y-%m-%d %H:%M:%S} UTC",
            hint="have a new one issued; or is the clock of this machine wrong?",
        )
    if now < start:
        raise SettingsError(
            f"{label(certificate)} is not valid before {start:%Y-%m-%d %H:%M:%S} UTC",
            hint="look at the clock of this machine",
        )


def check_issued_by(certificate: x509.Certificate, ca: x509.Certificate) -> None:
    """Refuse a certificate that the CA did not issue: names and signature, not names alone.

    Raises:
        SettingsError: somebody else did.
    """
    try:
        certificate.verify_directly_issued_by(ca)
    except (ValueError, TypeError, InvalidSignature) as error:
        raise SettingsError(
            f"{label(certificate)} was not issued by {label(ca)}",
            hint="devices could not verify it; two files of different CAs were mixed",
        ) from error


def label(certificate: x509.Certificate) -> str:
    """Name a certificate in a message."""
    return f'the certificate "{Name.of(certificate.subject)}"'


def common_name_of(name: x509.Name) -> str:
    """Return the common name of a CA; "CA" for a foreign one that has none."""
    found = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(found[0].value) if found else "CA"


def marked(common_name: str, mark: str) -> str:
    """Return the common name of a CA with a mark behind it, cut to what a certificate has."""
    room = _MOST_OCTETS - len(mark)
    return common_name.encode("utf-8")[:room].decode("utf-8", "ignore") + mark


def _lacking(certificate: x509.Certificate, needs: tuple[str, ...]) -> list[str]:
    try:
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        return list(needs)
    return [need for need in needs if not getattr(usage, need)]
