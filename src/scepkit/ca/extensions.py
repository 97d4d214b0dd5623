"""Extensions that do not depend on a request: key usages, key identifiers, and locations.

Locations are the URLs of a CA's CRL, its certificate and its OCSP responder, for relying parties.
Their paths are here once, for the certificates that name them and for the server that answers
there. A CA goes by its key: each generation has its own CRL, at a URL that never changes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.x509.oid import AuthorityInformationAccessOID

from scepkit.errors import UsageError
from scepkit.protocol.extensions import encoded

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

CRL_PATH = "/crl/{}.crl"
ISSUER_PATH = "/ca/{}.cer"
OCSP_PATH = "/ocsp/{}"

_ID_OCTETS = 8
# RFC 3986 has them nowhere in a URL.
_NEVER = frozenset(' "<>\\^`{|}')


def key_usage(asserted: Iterable[str]) -> x509.KeyUsage:
    """Build a keyUsage from the names of the bits that are set, as `x509.KeyUsage` spells them."""
    bits = frozenset(asserted)
    return x509.KeyUsage(
        digital_signature="digital_signature" in bits,
        content_commitment=False,
        key_encipherment="key_encipherment" in bits,
        data_encipherment=False,
        key_agreement="key_agreement" in bits,
        key_cert_sign="key_cert_sign" in bits,
        crl_sign="crl_sign" in bits,
        encipher_only=False,
        decipher_only=False,
    )


def authority_key_identifier(certificate: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    """Return the extension that names this CA's key in all that it signs."""
    # RFC 5280 section 4.2.1.1: it must be the very value in the CA's subjectKeyIdentifier.
    try:
        ski = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except x509.ExtensionNotFound:
        ski = x509.SubjectKeyIdentifier.from_public_key(certificate.public_key())
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(ski)


def key_identifier(certificate: x509.Certificate) -> bytes:
    """Return the octets that name this CA's key in all that it signs."""
    return authority_key_identifier(certificate).key_identifier or b""


def ca_id(key_hash: bytes) -> str:
    """Return the id of a CA in URLs: 16 hex digits.

    Args:
        key_hash: SHA-256 of its SubjectPublicKeyInfo.
    """
    return key_hash[:_ID_OCTETS].hex()


@dataclass(frozen=True, slots=True)
class Locations:
    """The URLs of the CAs of one endpoint.

    Attributes:
        base: what the paths are appended to, such as `http://pki.example.com`; ASCII. RFC 5280
            section 8 wants http: to check the certificate of an https server takes a CRL first.
        endpoint: its name, the last part of the URL of the OCSP responder.

    Raises:
        UsageError: not an http or https URL that can be in a certificate.
    """

    base: str
    endpoint: str = "default"

    def __post_init__(self) -> None:
        if not self.base.isascii():
            raise UsageError(
                f"{self.base} is not ASCII, which a URL in a certificate has to be",
                hint="write the host as xn--…, and other characters as %XX",
            )
        try:
            parts = urlsplit(self.base)
            is_good = parts.scheme in ("http", "https") and bool(parts.hostname)
            # Looking at the port tells whether it is one.
            is_good = is_good and parts.port != 0 and not _NEVER.intersection(self.base)
        except ValueError:
            is_good = False
        if not is_good or parts.query or parts.fragment or "@" in parts.netloc:
            raise UsageError(
                f"{self.base} cannot be the beginning of a URL in a certificate",
                hint="write it as http://HOST:PORT/PATH",
            )

    @property
    def is_circular(self) -> bool:
        """Say whether a relying party may need a CRL to get at the CRL."""
        return self.base.lower().startswith("https:")

    def crl_url(self, key_hash: bytes) -> str:
        """Return the URL of a CA's CRL."""
        return self._at(CRL_PATH, ca_id(key_hash))

    def issuer_url(self, key_hash: bytes) -> str:
        """Return the URL of a CA's certificate."""
        return self._at(ISSUER_PATH, ca_id(key_hash))

    def ocsp_url(self) -> str:
        """Return the URL of the OCSP responder; it tells the CAs of the endpoint apart itself."""
        return self._at(OCSP_PATH, self.endpoint)

    def extensions(self, key_hash: bytes) -> Iterator[bytes]:
        """Yield cRLDistributionPoints and authorityInfoAccess, DER (RFC 5280 4.2.1.13 and 4.2.2.1).

        Args:
            key_hash: of the CA that issues.
        """
        crl = x509.UniformResourceIdentifier(self.crl_url(key_hash))
        point = x509.DistributionPoint([crl], None, None, None)
        yield encoded(x509.CRLDistributionPoints([point]))
        access = [
            (AuthorityInformationAccessOID.OCSP, self.ocsp_url()),
            (AuthorityInformationAccessOID.CA_ISSUERS, self.issuer_url(key_hash)),
        ]
        yield encoded(
            x509.AuthorityInformationAccess(
                [
                    x509.AccessDescription(method, x509.UniformResourceIdentifier(url))
                    for method, url in access
                ]
            )
        )

    def _at(self, path: str, name: str) -> str:
        return self.base.rstrip("/") + path.format(name)
