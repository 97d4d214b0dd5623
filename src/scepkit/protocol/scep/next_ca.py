"""GetNextCACert (RFC 8894 section 4.7.1): the CA's successor, vouched for by the CA.

The answer is two SignedData, one inside the other: the outer one is signed by the current CA, its
content is a certs-only message with the next CA's certificates.
It belongs to no transaction and has no nonce, so it says nothing about when it was made; all that
speaks against an old one is the validity of what is inside.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from scepkit.errors import BadAlg, BadReply, FailInfoError, Malformed, UntrustedCA
from scepkit.protocol import chain, refusals
from scepkit.protocol.algorithms import SHA256, Legacy, PrivateKey
from scepkit.protocol.asn1 import der, textual
from scepkit.protocol.certificate import Certificate, dated
from scepkit.protocol.cms import signed
from scepkit.protocol.scep import ca_certificates
from scepkit.protocol.scep.attributes import SIGNING_TIME
from scepkit.protocol.scep.ca_certificates import TrustedCA


def make(
    certificates: Sequence[bytes],
    *,
    key: PrivateKey,
    certificate: Certificate,
    signing_time: datetime | None = None,
) -> bytes:
    """Write the answer to GetNextCACert.

    Args:
        certificates: DER of the next CA's certificate, and of its RA's and its chain.
        key: the current CA's private key.
        certificate: the current CA's certificate.
        signing_time: when it is signed, aware; None leaves the signingTime out.

    Returns:
        DER, for `application/x-x509-next-ca-cert`.
    """
    # The content's type is id-data, as that of a pkiMessage is (checklist A-07).
    signer = signed.Signer(signed.Credential(key, certificate), SHA256)
    return signer.sign(
        signed.certs_only(certificates),
        [] if signing_time is None else [der.attribute(SIGNING_TIME, der.time(signing_time))],
    )


def read(
    body: bytes, ca: TrustedCA, allowed: frozenset[Legacy], now: datetime
) -> tuple[Certificate, ...]:
    """Read an answer to GetNextCACert, and check that the current CA signed it.

    Reading is, in order:

    1. it is SignedData, and one of its SignerInfos is the current CA's, or an RA's of it (A-08);
    2. that signature holds;
    3. its content is a certs-only message, as id-data or as id-signedData (A-07).

    Old servers leave the inner layer out and put the certificates beside a signature over nothing
    (L-19). Such a signature says nothing about them: whoever is in between could replace them. So
    from such an answer only what the current CA itself has certified is taken.

    Args:
        body: the answer.
        ca: the CA that is trusted now.
        allowed: the legacy algorithms that the user allowed.
        now: an aware datetime.

    Returns:
        The certificates, in the order in which they came; at least one.

    Raises:
        BadReply: it must not be believed. It is final where the CA itself would have to change:
            where the answer has one layer only, nobody's signature or no certificate.
        LegacyRefused: it is the CA's, but signed with algorithms that the user did not allow.
    """
    try:
        outer = signed.read_signed_data(textual.single(body))
    except Malformed as error:
        raise _unbelievable(error.message) from error
    try:
        return _believed(outer, ca, allowed, now)
    except BadAlg as error:
        # Nobody is told to allow anything for what is not the CA's, or would not be believed then.
        _believed(outer, ca, frozenset(Legacy), now)
        needed = signed.legacy_uses(*_signer(outer, ca))
        raise refusals.reply_refused(needed, allowed) from error


def trust(certificates: Sequence[Certificate], now: datetime) -> TrustedCA:
    """Trust the next CA as the current one vouched for it.

    Args:
        certificates: what `read` returned.
        now: an aware datetime.

    Returns:
        The next CA's certificates by what they are for, from when they will be valid.

    Raises:
        BadReply: there is no CA certificate among them, or it is over already.
    """
    try:
        anchor = ca_certificates.top(certificates)
    except UntrustedCA as error:
        raise BadReply(
            "the answer about the next CA holds no CA certificate", final=True
        ) from error
    if now > anchor.not_after:
        raise BadReply(
            f"the next CA certificate expired at {anchor.not_after}",
            hint="somebody may have sent an old answer; ask the CA's operator",
        )
    starts = (c.not_before for c in certificates)
    return ca_certificates.trust(certificates, anchor, max(now, *starts))


def ahead(current: TrustedCA, following: TrustedCA) -> TrustedCA:
    """Return the CA to talk to for a certificate of the next CA (RFC 8894 section 5.1).

    The request is enveloped for the next CA, which tells the server who is to issue; the answer
    may come from the current one still.
    """
    signers = dict.fromkeys((*following.signers, *current.signers))
    return replace(following, signers=tuple(signers))


def _believed(
    outer: signed.SignedData, ca: TrustedCA, allowed: frozenset[Legacy], now: datetime
) -> tuple[Certificate, ...]:
    """Return the certificates that the CA vouches for.

    Raises:
        BadReply: it does not.
        BadAlg: it does so, if at all, with a legacy algorithm that is not allowed.
    """
    one_layer = not outer.content
    try:
        # (1)
        signer, certificate = _signer(outer, ca)
        # (2)
        signed.verify(outer, signer, certificate, allowed)
        if one_layer:
            return _single_layer(outer, ca, now)
        # (3)
        inner = signed.read_signed_data(_content_info(outer))
        found = tuple(dated(inner.certificates))
    except BadAlg as error:
        if error.legacy:
            raise
        raise _unbelievable(error.message) from error
    except (FailInfoError, Malformed) as error:
        raise _unbelievable(error.message, final=one_layer or not outer.signers) from error
    if not found:
        raise BadReply("the answer about the next CA holds no certificate", final=True)
    return found


def _unbelievable(why: str, *, final: bool = False) -> BadReply:
    return BadReply(f"the next CA certificate cannot be believed: {why}", final=final)


def _signer(outer: signed.SignedData, ca: TrustedCA) -> tuple[signed.SignerInfo, Certificate]:
    for signer in outer.signers:
        certificate = signer.find(ca.signers)
        if certificate is not None:
            return signer, certificate
    who = "an unknown signer" if outer.signers else "nobody"
    raise Malformed(f"it is signed by {who}, not by the CA that is trusted")


def _content_info(outer: signed.SignedData) -> bytes:
    """Return the inner message as a ContentInfo (3)."""
    content = outer.content or b""
    if outer.content_type != signed.SIGNED_DATA:
        return content
    # RFC 5652 section 5.2: of id-signedData the octets are the SignedData itself.
    wrapped = der.sequence(signed.SIGNED_DATA, der.tagged(0, content))
    try:
        signed.read_signed_data(wrapped)
    except Malformed:
        return content
    return wrapped


def _single_layer(
    outer: signed.SignedData, ca: TrustedCA, now: datetime
) -> tuple[Certificate, ...]:
    known = {certificate.der for certificate in ca.signers}
    new = [one for one in dated(outer.certificates) if one.der not in known]
    authorities = [c for c in new if c.is_ca and _certified(c, ca, now)]
    if not authorities:
        raise Malformed(
            "it is of the old kind with one layer, whose signature does not cover the certificates"
        )
    return tuple(authorities)


def _certified(certificate: Certificate, ca: TrustedCA, now: datetime) -> bool:
    try:
        chain.build(certificate, ca.authorities, ca.anchor, max(now, certificate.not_before))
    except BadReply:
        return False
    return True
