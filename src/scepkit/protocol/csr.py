"""PKCS#10 certification requests (RFC 2986), read leniently; `csr_writing` writes them.

The library's own reader refuses what devices send (strongSwan's attribute SET is out of DER order,
Windows writes `!` into a PrintableString), so the request is cut into its parts here, and the parts
keep their octets.
The signature is verified over the bytes as received; everything else is decoded when it is asked
for, and nothing is decoded that nobody asks for.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import field, replace
from functools import cache
from typing import Any, TypeAlias

from cryptography.x509 import ObjectIdentifier

from scepkit.errors import WELL_FORMED, BadRequest, FailInfoError, Malformed
from scepkit.protocol import csr_writing, extensions, public_keys, signatures
from scepkit.protocol.algorithms import Legacy, PublicKey, read_algorithm
from scepkit.protocol.asn1 import ber, strings
from scepkit.protocol.asn1 import der as _der
from scepkit.protocol.asn1.ber import Attribute
from scepkit.protocol.asn1.grammar import (
    ANY,
    CONTENT,
    END,
    ENTER,
    OPTIONAL,
    REST,
    SKIP,
    WHOLE,
    Grammar,
    Row,
)
from scepkit.protocol.csr_writing import (
    CHALLENGE_PASSWORD,
    EXTENSION_REQUEST,
    MAX_CHALLENGE_LENGTH,
    build,
)
from scepkit.protocol.distinguished_name import Name
from scepkit.protocol.extensions import Extensions
from scepkit.protocol.general_name import GeneralName
from scepkit.protocol.refusals import Unverifiable
from scepkit.protocol.signatures import SignatureScheme
from scepkit.protocol.value import once, value

__all__ = [
    "CHALLENGE_PASSWORD",
    "EXTENSION_REQUEST",
    "MAX_CHALLENGE_LENGTH",
    "CertificationRequest",
    "build",
    "read",
    "read_archived",
    "verify",
]

# The same by other names (P-33): PKCS#9's and Microsoft's. That of old drafts needs a switch.
_EXTENSION_REQUEST = _der.oid(EXTENSION_REQUEST)
_MICROSOFT = _der.oid(ObjectIdentifier("1.3.6.1.4.1.311.2.1.14"))
_DRAFT = _der.oid(ObjectIdentifier("2.16.840.1.113733.1.9.8"))
_EXTENSION_REQUESTS = frozenset({_EXTENSION_REQUEST, _MICROSOFT, _DRAFT})
_CHALLENGE = _der.oid(CHALLENGE_PASSWORD)
# The fields of CertificationRequest and CertificationRequestInfo; some devices leave the attributes
# out altogether. What comes after them is not looked at.
_INFO = (
    *(ANY | SKIP, ANY, ANY),
    # Attributes that cannot be cut yet stay a row: what is wrong is told when the signature holds.
    *(0xA0 | ENTER | OPTIONAL, Row(ber.SINGLE_VALUED, bytes), END, REST, END),
)
_REQUEST = Grammar(
    "PKCS#10 request",
    *(_der.SEQUENCE | ENTER, _der.SEQUENCE | WHOLE | ENTER, *_INFO),
    *(ANY, _der.BIT_STRING | CONTENT, END),
)
# The same in two steps.
_OUTSIDE = Grammar(
    "PKCS#10 request",
    *(_der.SEQUENCE | ENTER, _der.SEQUENCE, ANY, _der.BIT_STRING | CONTENT, END),
)
_INSIDE = Grammar("PKCS#10 request", _der.SEQUENCE | ENTER, *_INFO)


@value(keeps=True)
class CertificationRequest:
    """A PKCS#10 whose own signature has been verified; its contents are read on demand.

    Anybody can take a captured envelope and sign it anew. So whether its sender may be told what is
    wrong in here is for the caller to say, who knows which key signed the pkiMessage: compare
    `key_hash` before anything else is asked for.

    Attributes:
        der: the request as received.
        info: its CertificationRequestInfo as received: what the device asked for, unlike `der`
            the same in every retransmission, as signatures may be randomised.
        subject: the requested subject; may be empty.
        spki: the SubjectPublicKeyInfo, DER as received.
        public_key: the key.
        canonical_spki: the SubjectPublicKeyInfo, DER, in the one form that each key has.
        key_hash: the identity of the key, 32 octets: SHA-256 of `canonical_spki`.
        algorithm: how it is signed; None in what was archived.
    """

    der: bytes = field(repr=False)
    info: bytes = field(repr=False)
    subject: Name
    spki: bytes = field(repr=False)
    public_key: PublicKey = field(repr=False)
    canonical_spki: bytes = field(repr=False)
    key_hash: bytes = field(repr=False)
    algorithm: SignatureScheme | None
    _attributes: list[Attribute] | bytes = field(repr=False, compare=False)
    _names: tuple[GeneralName, ...] | None = field(default=None, repr=False)

    def __repr__(self) -> str:
        """Leave the secret out."""
        return f"<CertificationRequest {str(self.subject)!r}>"

    @property
    def attributes(self) -> tuple[tuple[bytes, tuple[bytes, ...]], ...]:
        """Return its attributes in the order received: types and values, DER.

        Raises:
            BadRequest: they cannot be read.
        """
        return tuple((kind, tuple(ber.split(values))) for kind, values, _ in self._cut())

    def _cut(self) -> list[Attribute]:
        """Return its attributes, cut; raises as `attributes` does."""
        attributes = self._attributes
        return attributes if isinstance(attributes, list) else self._rewritten

    @once
    def _rewritten(self) -> list[Attribute]:
        """Its attributes, cut, where they are not DER: that takes long."""
        row = self._attributes
        try:
            return row if isinstance(row, list) else ber.attributes(row)
        except Malformed as error:
            raise BadRequest("the request's attributes cannot be read", rule=WELL_FORMED) from error

    @once
    def extensions(self) -> Extensions:
        """Return the requested extensions, from whichever attributes ask for them.

        Raises:
            BadRequest: they cannot be read, or contradict each other; see `extensions.merged`.
        """
        lists: list[bytes] = []
        for kind, values, single in self._cut():
            if kind in _EXTENSION_REQUESTS:
                lists += ber.split(values) if single is None else [values]
        found = extensions.merged(lists) if lists else extensions.NO_EXTENSIONS
        return found if self._names is None else found.with_names(self._names)

    @once
    def extension_requests(self) -> tuple[ObjectIdentifier | None, ...]:
        """Return the types of the attributes that ask for extensions, in the order received.

        Services that judge the raw PKCS#10 take nothing but one of PKCS#9's.
        """
        kinds = [kind for kind, _, _ in self._cut() if kind in _EXTENSION_REQUESTS]
        return tuple(map(ber.object_identifier, kinds))

    @once
    def challenge_password(self) -> str | None:
        """Return the challengePassword; None when missing or empty. Secret.

        Raises:
            BadRequest: there are several, or it is no text.
        """
        found: Attribute | None = None
        is_alone = True
        for one in self._cut():
            if one[0] == _CHALLENGE and one[1]:
                is_alone, found = found is None, one
        if found is None:
            return None
        _, value, content = found
        try:
            if content is None or not is_alone:
                value, content = _same(self._cut())
            text = strings.decode(value[0], content)
        except (Malformed, strings.Undecodable):
            # Not `from`: whatever it holds may be the password.
            raise BadRequest("the request's challengePassword cannot be read as text") from None
        if len(text) > MAX_CHALLENGE_LENGTH:
            raise BadRequest(
                f"the request's challengePassword has {len(text)} characters, "
                f"at most {MAX_CHALLENGE_LENGTH} are read"
            )
        return text or None

    @property
    def has_challenge_extension(self) -> bool:
        """Say whether a challengePassword is among the extensions, where it does not count."""
        return any(one.identifier == _CHALLENGE for one in self.extensions.all)

    @property
    def archive(self) -> bytes:
        """Return subject, key and extensions as a PKCS#10 without secrets and signature.

        A certificate can be issued from it later; see `read_archived`. A signature would let
        whoever finds the copy try out challengePasswords.

        Raises:
            BadRequest: the extensions cannot be read.
        """
        return self.archived(b"")

    def archived(self, kept: bytes) -> bytes:
        """Return the `archive`, with further attributes.

        Args:
            kept: the type of attributes that are kept as well, DER; none when empty.

        Raises:
            BadRequest: the extensions, or the attributes, cannot be read.
        """
        wanted = [one.der for one in self.extensions.all if one.identifier != _CHALLENGE]
        attributes = [_der.attribute(_EXTENSION_REQUEST, _der.sequence(*wanted))] if wanted else []
        if kept:
            found = (values for kind, values in self.attributes if kind == kept)
            attributes += [_der.attribute(kept, one) for values in found for one in values]
        row = b"".join(sorted(attributes))
        return csr_writing.UNSIGNED.write(self.subject.der, self.canonical_spki, row, b"")

    def bound_to(self, subject: Name, names: Sequence[GeneralName]) -> CertificationRequest:
        """Return the request with its names as they are bound or stored.

        Names that match may still be spelled in another way, or stand in another order, and a
        certificate carries what somebody agreed to.

        Args:
            subject: one that the request's matches.
            names: subject alternative names, all of the request's among them.

        Raises:
            BadRequest, Malformed: the request's extensions cannot be read.
        """
        asked = self.extensions.subject_alternative_names
        texts = frozenset(map(str, asked))
        bound = tuple(name for name in names if str(name) in texts)
        reads_alike = self.subject.reads_like(subject)
        if reads_alike and bound == asked:
            return self
        return replace(
            self,
            subject=self.subject if reads_alike else subject,
            _names=None if bound == asked else bound,
        )

    def named(self, subject: Name, names: tuple[GeneralName, ...]) -> CertificationRequest:
        """Return the request with another subject and other names."""
        return replace(self, subject=subject, _names=names)

    def check(self, allowed: frozenset[Legacy]) -> tuple[Legacy, ...]:
        """Make sure that all of it can be read and used.

        Args:
            allowed: the legacy algorithms that are allowed for its signature, and whether the
                extensionRequest of old drafts is.

        Returns:
            What it uses that had to be allowed, for the log.

        Raises:
            BadRequest: its key is too small, its extensionRequest is of a form that is not allowed,
                or a part of it cannot be read.
            BadAlg: its signature algorithm or its key's curve is not allowed.
        """
        public_keys.check(self.public_key)
        uses: list[Legacy] = []
        if self.algorithm is not None and not self.algorithm.is_free:
            self.algorithm.require(allowed)
            uses += self.algorithm.legacy
        if self._is_draft(allowed):
            uses.append(Legacy.DRAFT_OIDS)
        try:
            _ = self.subject.rdns
        except Malformed as error:
            said = f"the subject cannot be read: {error.message}"
            raise BadRequest(said, rule=WELL_FORMED, attribute="subject") from error
        _ = self.extensions, self.challenge_password
        return tuple(uses)

    def _is_draft(self, allowed: frozenset[Legacy]) -> bool:
        """Say whether the extensions are asked for as old drafts did it.

        Where that is off, the request is refused: a certificate without the names helps nobody.
        """
        for kind, _, _ in self._cut():
            if kind == _DRAFT:
                break
        else:
            return False
        if Legacy.DRAFT_OIDS not in allowed:
            raise BadRequest(
                "the extension request is in the old form of a draft, which is not allowed here",
                hint=f"to allow it, name {Legacy.DRAFT_OIDS.value!r} in the legacy setting",
                rule="legacy",
                attribute="extensionRequest",
            )
        return True


def _same(attributes: Iterable[Attribute]) -> tuple[bytes, bytes]:
    """Return the one value of all challengePasswords, DER, and its content.

    Raises:
        BadRequest: they do not say the same.
        Malformed: its content cannot be cut out.
    """
    asked = [values for kind, values, _ in attributes if kind == _CHALLENGE]
    several = [value for values in asked for value in ber.split(values)]
    # Twice the same octets are one.
    if len(set(several)) > 1:
        raise BadRequest("the request has several challengePasswords", rule="challenge")
    _, content = ber.tag_and_content(several[0])
    return several[0], content


def read(der: bytes, allowed: frozenset[Legacy]) -> CertificationRequest:
    """Read a PKCS#10, DER or BER, all of it: `verify`, then `CertificationRequest.check`.

    Args:
        der: the request.
        allowed: the legacy algorithms that are allowed for its signature, and whether the
            extensionRequest of old drafts is.

    Raises:
        Malformed: it is no PKCS#10, or its signature is wrong or cannot be checked.
        BadRequest, BadAlg: it cannot be used; see `CertificationRequest.check`.
    """
    request = verify(der)
    request.check(allowed)
    return request


def verify(der: bytes, *, is_whole: bool = True) -> CertificationRequest:
    """Read a PKCS#10, DER or BER, as far as its own signature, and verify that.

    Reading is, in order: structure; the key, bounded before it is used; the request's signature
    by that key, over the bytes as received.
    Until the signature holds, everything that is wrong is `Malformed`, after nearly the same work:
    the request may be somebody else's, opened for whoever cut its ciphertext to pieces (checklist
    P-54).
    So an algorithm that can be verified and is not allowed, or not supported, such as SHA-1 or
    SHA-3, is verified first, and `CertificationRequest.check` names it then. One that cannot be
    verified, such as a mask generation other than MGF1, is `Unverifiable`.

    Args:
        der: the request.
        is_whole: False for one that was damaged on its way, as far as is known: whatever it looks
            like, its signature is then not good enough.

    Raises:
        Unverifiable: its signature is of a kind that is not supported.
        Malformed: it is no PKCS#10, or its signature is wrong.
    """
    try:
        claim = _claim(der)
    except Malformed:
        _is_true(*_decoy())
        raise
    if not (_is_true(*claim) and is_whole):
        raise Malformed("the PKCS#10 request's own signature does not verify")
    return claim[0]


def read_archived(der: bytes) -> CertificationRequest:
    """Read the `archive` of a PKCS#10 that was accepted, whose signature was verified then.

    Args:
        der: what was kept of the request.

    Raises:
        Malformed, BadRequest, BadAlg: it is not what was kept.
    """
    info, subject, spki, attributes, *_ = _cut(der)
    known = public_keys.read(spki)
    public_keys.check(known.key)
    return CertificationRequest(
        *(der, info, Name(subject), spki, known.key, known.canonical, known.identity),
        *(None, attributes or []),
    )


_Claim: TypeAlias = tuple[CertificationRequest, SignatureScheme, bytes]
"""A PKCS#10 that could be read, how its signature is to be verified, and the signature."""


def _is_true(request: CertificationRequest, scheme: SignatureScheme, signature: bytes) -> bool:
    """Say whether the request's key made its signature."""
    return scheme.verify(request.public_key, signature, request.info)


def _claim(der: bytes) -> _Claim:
    info, subject, spki, attributes, _, algorithm, signature = _cut(der)
    identifier = read_algorithm(algorithm)
    if signature[:1] != b"\0":
        raise Malformed("the PKCS#10 request's signature is not made of octets")
    try:
        known = public_keys.read(spki)
        scheme = signatures.parse(identifier)
        scheme.require_key(known.key)
    except FailInfoError as error:
        raise Unverifiable(public_keys.identity(spki), error) from error
    key, canonical, identity = known.key, known.canonical, known.identity
    request = CertificationRequest(
        der, info, Name(subject), spki, key, canonical, identity, scheme, attributes or []
    )
    return request, scheme, signature[1:]


@cache
def _decoy() -> _Claim:
    """Return a PKCS#10 to verify where there is none: the same work."""
    return _claim(csr_writing.signed_by_nobody())


def _cut(der: bytes) -> list[Any]:
    """Cut a CertificationRequest (RFC 2986 section 4.2), and its CertificationRequestInfo.

    Returns:
        CertificationRequestInfo, its subject and SubjectPublicKeyInfo, DER, its attributes, and a
        row of what follows them; then the AlgorithmIdentifier, DER, and the content of the BIT
        STRING.
    """
    fields = _REQUEST.strictly(der) or _one_by_one(der)
    attributes, more = fields[3:5]
    if more and ber.split(more) and not attributes:
        raise Malformed("not a PKCS#10 request: its attributes are of another type")
    return fields


def _one_by_one(der: bytes) -> list[Any]:
    """Cut a request, and then what is signed in it: one of them is unusual, or is none."""
    info, algorithm, signature = _OUTSIDE.fields(der)
    return [info, *_INSIDE.fields(info), algorithm, signature]
