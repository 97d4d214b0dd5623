"""The checks of a certificate that is to become a CA's here: each fault in words of its own.

What `checks` looks at each start, and what matters on the day that a certificate is brought in:
whether others will be able to verify what it issues, and how it is chained to a root.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtensionOID, PublicKeyAlgorithmOID

from scepkit.ca import checks
from scepkit.ca.checks import label
from scepkit.ca.limits import constraints_of, path_length
from scepkit.errors import BadRequest, Malformed, SettingsError
from scepkit.protocol.certificate import Certificate
from scepkit.protocol.distinguished_name import Name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime

    from scepkit.keys.pem import PrivateKey

CA_NEEDS = ("key_cert_sign", "crl_sign")

_STRONG = frozenset({"sha256", "sha384", "sha512", "sha3-256", "sha3-384", "sha3-512"})
_LEAST_RSA, _MOST_RSA = 2048, 8192
_RSASSA_PSS = PublicKeyAlgorithmOID.RSASSA_PSS
_LONGEST_CHAIN = 8
# RFC 5280 section 4.2: what a verifier has to process; and what openssl does besides.
_KNOWN = frozenset(
    {
        ExtensionOID.BASIC_CONSTRAINTS,
        ExtensionOID.KEY_USAGE,
        ExtensionOID.EXTENDED_KEY_USAGE,
        ExtensionOID.CERTIFICATE_POLICIES,
        ExtensionOID.POLICY_MAPPINGS,
        ExtensionOID.POLICY_CONSTRAINTS,
        ExtensionOID.INHIBIT_ANY_POLICY,
        ExtensionOID.NAME_CONSTRAINTS,
        ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
        ExtensionOID.CRL_DISTRIBUTION_POINTS,
    }
)
_WHOLE_CHAIN = "give the certificates from its issuer up to the root"


def check(
    certificate: x509.Certificate,
    key: PrivateKey,
    above: Sequence[x509.Certificate],
    now: datetime,
) -> tuple[x509.Certificate, ...]:
    """Refuse a certificate that cannot be a CA's here.

    Args:
        certificate: the would-be CA's.
        key: its private key.
        above: the certificates over it that are known, in any order.
        now: the time, aware.

    Returns:
        The chain above it, from its issuer up, as far as it is known; empty for a root.

    Raises:
        SettingsError: what is wrong, and what to do about it.
    """
    if not checks.has_key(certificate, key.public_key()):
        raise SettingsError(
            f"{label(certificate)} is for another key than the one here",
            hint="the two are of different CAs, or of different times",
        )
    check_key_kind(certificate)
    for one in (certificate, *above):
        constraints_of(one)  # before any other extension: the library reads all of them or none
    checks.check_is_ca(certificate)
    checks.check_key_usage(
        certificate,
        *CA_NEEDS,
        hint="sign it anew with the same key and name, and with keyUsage keyCertSign and cRLSign; "
        "what it has issued stays good"
        if is_self_issued(certificate)
        else "ask for a certificate of a subordinate CA: keyUsage keyCertSign and cRLSign",
    )
    checks.check_validity(certificate, now)
    if not certificate.subject.rdns:
        raise SettingsError(
            "the CA's certificate has no subject", hint="what it issues could not name its issuer"
        )
    # Before the chain is looked for: by such a signature nobody is known to be the issuer.
    for one in (certificate, *above):
        _check_signature(one)
    chain = _chain(certificate, above)
    for depth, one in enumerate(chain):
        _check_issuer(one, depth, now)
    for one in (certificate, *chain):
        _check_critical(one)
    _check_names((certificate, *chain))
    return chain


def doubts(certificate: x509.Certificate) -> Iterator[str]:
    """Yield what RFC 5280 wants of a CA's certificate and strict verifiers miss in this one.

    Most verifiers pass over it, so it is no reason to refuse the CA.

    Args:
        certificate: one that has passed `check`.
    """
    found = {one.oid: one for one in certificate.extensions}
    if not found[ExtensionOID.BASIC_CONSTRAINTS].critical:
        yield "its basicConstraints are not critical (RFC 5280 section 4.2.1.9)"
    if ExtensionOID.SUBJECT_KEY_IDENTIFIER not in found:
        yield "it has no subjectKeyIdentifier (RFC 5280 section 4.2.1.2)"
    if not is_self_issued(certificate) and ExtensionOID.AUTHORITY_KEY_IDENTIFIER not in found:
        yield "it has no authorityKeyIdentifier (RFC 5280 section 4.2.1.1)"


def check_key_kind(certificate: x509.Certificate) -> None:
    """Refuse a key that certificates are not signed with here.

    Raises:
        SettingsError: RSA of less than 2048 or more than 8192 bits, an EC key on another curve than
            P-256, P-384 and P-521, or a key of another kind.
    """
    key = certificate.public_key()
    match key:
        case rsa.RSAPublicKey() if certificate.public_key_algorithm_oid == _RSASSA_PSS:
            raise SettingsError(
                f"the key of {label(certificate)} is for RSASSA-PSS alone, which devices cannot "
                "verify",
                hint="take an ordinary RSA key (rsaEncryption)",
            )
        case rsa.RSAPublicKey() if not _LEAST_RSA <= key.key_size <= _MOST_RSA:
            raise SettingsError(
                f"the key of {label(certificate)} has {key.key_size} bits",
                hint=f"an RSA key of a CA has {_LEAST_RSA} to {_MOST_RSA} here; take rsa:3072",
            )
        case rsa.RSAPublicKey():
            return
        case ec.EllipticCurvePublicKey() if key.curve.name in (
            "secp256r1",
            "secp384r1",
            "secp521r1",
        ):
            return
        case ec.EllipticCurvePublicKey():
            kind = f"an EC key on {key.curve.name}"
        case _:
            kind = type(key).__name__.removesuffix("PublicKey").lstrip("_")
    raise SettingsError(
        f"the key of {label(certificate)} is {kind}: certificates are not signed with that here",
        hint="take RSA, or EC on P-256 or P-384",
    )


def is_self_issued(certificate: x509.Certificate) -> bool:
    """Say whether a certificate is a root: it names itself as its issuer.

    Whether its key signed it is not looked at: a root is trusted as it is, and old ones are signed
    with what is not verified any more.
    """
    return certificate.issuer == certificate.subject


def _chain(
    certificate: x509.Certificate, above: Sequence[x509.Certificate]
) -> tuple[x509.Certificate, ...]:
    """Return the chain above a certificate, in order.

    Raises:
        SettingsError: there is a gap or a loop in it, or a certificate that does not belong to it.
    """
    left = [one for one in dict.fromkeys(above) if one != certificate]
    chain: list[x509.Certificate] = []
    last = certificate
    while not is_self_issued(last):
        issuer = next((one for one in left if _issued(one, last)), None)
        if issuer is None:
            break
        if len(chain) == _LONGEST_CHAIN:
            raise SettingsError(
                f"the chain of {label(certificate)} is longer than {_LONGEST_CHAIN}",
                hint=_WHOLE_CHAIN,
            )
        left.remove(issuer)
        chain.append(issuer)
        last = issuer
    if not is_self_issued(last) and any(_issued(one, last) for one in (certificate, *chain)):
        raise SettingsError(
            f"the chain of {label(certificate)} comes back to itself: there is no root in it",
            hint=_WHOLE_CHAIN,
        )
    if left:
        raise _gap(certificate, last, left[0])
    return tuple(chain)


def continued(
    certificate: x509.Certificate,
    chain: Sequence[x509.Certificate],
    known: Iterable[x509.Certificate],
) -> tuple[x509.Certificate, ...]:
    """Return a chain, and of the certificates known before what goes on where it ends.

    Args:
        certificate: the CA's.
        chain: above it, in order; may be empty, or end below the root.
        known: other certificates, each before those above it.
    """
    found = [certificate, *chain]
    for one in known:
        if not is_self_issued(found[-1]) and one not in found and _issued(one, found[-1]):
            found.append(one)
    return tuple(found[1:])


def _gap(
    certificate: x509.Certificate, last: x509.Certificate, other: x509.Certificate
) -> SettingsError:
    """Return the error for a certificate that is in no place of the chain."""
    if is_self_issued(last):
        return SettingsError(
            f"{label(other)} is not in the chain of {label(certificate)}, which ends at "
            f"{label(last)}",
            hint="leave it out of the chain",
        )
    return SettingsError(
        f"the chain has a gap: nobody in it issued {label(last)}, whose issuer is "
        f'"{Name.of(last.issuer)}"',
        hint=_WHOLE_CHAIN,
    )


def _issued(issuer: x509.Certificate, certificate: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _check_signature(certificate: x509.Certificate) -> None:
    if is_self_issued(certificate):
        return
    try:
        algorithm = certificate.signature_hash_algorithm
    except Exception:  # noqa: BLE001 - the library has errors of several kinds for this
        algorithm = None
    name = "an unknown algorithm" if algorithm is None else algorithm.name
    if algorithm is None or name not in _STRONG:
        raise SettingsError(
            f"{label(certificate)} is signed with {name.upper() if algorithm else name}",
            hint="devices refuse that; have it issued with SHA-256",
        )


def _check_issuer(certificate: x509.Certificate, below: int, now: datetime) -> None:
    """Refuse a chain that no verifier would accept (RFC 5280 section 6.1.4).

    Args:
        certificate: one above the CA's.
        below: the number of CAs between it and the CA here, which itself counts as one more.
        now: the time, aware.
    """
    checks.check_is_ca(certificate)
    checks.check_validity(certificate, now)
    try:
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        usage = None
    if usage is not None and not usage.key_cert_sign:
        raise SettingsError(
            f"{label(certificate)} may not sign certificates: its keyUsage lacks keyCertSign",
            hint="is it the right one?",
        )
    longest = path_length(certificate)
    if longest is not None and longest < below + 1:
        raise SettingsError(
            f"{label(certificate)} has a path length of {longest}: {below + 1} CAs are below it",
            hint="have the CA's certificate issued by a CA that may have CAs below it",
        )


def _check_critical(certificate: x509.Certificate) -> None:
    """Refuse a critical extension that verifiers do not know (RFC 5280 section 4.2).

    Raises:
        SettingsError: there is one: whoever verifies refuses all that is below.
    """
    for one in certificate.extensions:
        if one.critical and one.oid not in _KNOWN:
            raise SettingsError(
                f"{label(certificate)} has a critical extension that verifiers do not know: "
                f"{one.oid.dotted_string}",
                hint="they refuse all that is below it; have it issued without, or not critical",
            )


def _check_names(chain: Sequence[x509.Certificate]) -> None:
    """Refuse a chain that its own name constraints do not allow (RFC 5280 section 6.1.3).

    Args:
        chain: from the CA here up.
    """
    for depth, issuer in enumerate(chain):
        constraints = constraints_of(issuer)
        if constraints is None:
            continue
        for one in map(Certificate.of, chain[:depth]):
            try:
                constraints.check(one.subject_name, one.alternative_names)
            except (BadRequest, Malformed) as error:
                raise SettingsError(
                    f'"{one.subject_name}" may not be below {label(issuer)}: {error.message}',
                    hint="have the CA's certificate issued with a name that is allowed there",
                ) from error
