"""The name constraints of a CA: which names may stand in what it issues (RFC 5280 4.2.1.10).

NameConstraints ::= SEQUENCE {
    permittedSubtrees [0] GeneralSubtrees OPTIONAL,
    excludedSubtrees  [1] GeneralSubtrees OPTIONAL }
GeneralSubtrees ::= SEQUENCE OF SEQUENCE {
    base GeneralName, minimum [0] INTEGER DEFAULT 0, maximum [1] INTEGER OPTIONAL }

Verifiers differ in the corners; where they do, a name is refused: what is issued verifies with all,
and what somebody else issued is believed only where all would believe it.
So a host name in the CN counts as well if there is no dNSName, as openssl has it, and of a kind of
which a subtree cannot be compared no name passes, be the extension critical or not.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, NamedTuple, TypeAlias

from cryptography.x509.oid import NameOID

from scepkit.errors import BadRequest, Malformed
from scepkit.protocol.asn1 import ber, der, strings
from scepkit.protocol.certificate import Certificate
from scepkit.protocol.distinguished_name import Name
from scepkit.protocol.extensions import NAME_CONSTRAINTS
from scepkit.protocol.general_name import ADDRESS_SIZES, GeneralName

_OTHER, _EMAIL, _DNS, _DIRECTORY, _URI, _IP = 0xA0, 0x81, 0x82, 0xA4, 0x86, 0x87
_OTHER_THAN_UPN = -1  # of the otherNames, user principal names alone are a kind of their own
_KINDS = {
    _OTHER: "otherName",
    _OTHER_THAN_UPN: "otherName",
    _EMAIL: "rfc822Name",
    _DNS: "dNSName",
    _DIRECTORY: "directoryName",
    _URI: "uniformResourceIdentifier",
    _IP: "iPAddress",
}
_PERMITTED, _EXCLUDED = 0xA0, 0xA1
_MINIMUM_0 = b"\x80\x01\x00"  # the default, written out
_MOST_COMPARISONS = 1 << 20  # as openssl has it

_EMAIL_ADDRESS, _COMMON_NAME = NameOID.EMAIL_ADDRESS, NameOID.COMMON_NAME
_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?"
_HOST = re.compile(rf"{_LABEL}(?:\.{_LABEL})+")
_ADDRESS = re.compile(r"[0-9.]+|\[.*|0x.*", re.IGNORECASE)

# Says whether a name is in a subtree; that differs in corners for those that are excluded.
_Holds: TypeAlias = Callable[[Any, bool], bool]


class Incomparable(Exception):
    """A name of a constrained kind that cannot be held against a subtree."""


class _Compared(NamedTuple):
    """A name of a certificate as subtrees are held against it.

    Attributes:
        kind: the tag of its GeneralName.
        label: how it is called in an error.
        value: its text, its octets, or the parts of a directoryName.
    """

    kind: int
    label: str
    value: Any


@dataclass(frozen=True, slots=True)
class Subtree:
    """A GeneralSubtree.

    Attributes:
        kind: the tag of its base.
        text: the base, for people.
        holds: says whether a name is in it; None where that cannot be told of any.
    """

    kind: int
    text: str
    holds: _Holds | None


@dataclass(frozen=True, slots=True)
class NameConstraints:
    """The subtrees of one CA certificate.

    Attributes:
        owner: the subject of that certificate, for people.
        permitted: of each kind that is among them a name has to be in one.
        excluded: no name may be in one.
    """

    owner: str
    permitted: tuple[Subtree, ...]
    excluded: tuple[Subtree, ...]

    @classmethod
    def read(cls, value: bytes, owner: str) -> NameConstraints:
        """Read the value of the extension.

        Raises:
            Malformed: it cannot be read.
        """
        found: dict[int, tuple[Subtree, ...]] = {}
        for part in ber.parts(value, der.SEQUENCE, "nameConstraints"):
            tag = part[0]
            if tag not in (_PERMITTED, _EXCLUDED) or tag in found:
                raise Malformed("not a nameConstraints extension")
            found[tag] = tuple(map(_subtree, ber.parts(part, tag, "subtrees")))
        return cls(owner, found.get(_PERMITTED, ()), found.get(_EXCLUDED, ()))

    @classmethod
    def of(cls, certificate: Certificate) -> NameConstraints | None:
        """Return those of a CA's certificate; None if it has none.

        Raises:
            Malformed: they cannot be read.
        """
        value = certificate.extensions.find(NAME_CONSTRAINTS)
        return None if value is None else cls.read(value, str(certificate.subject_name))

    def check(
        self,
        subject: Name,
        names: Sequence[GeneralName],
        *,
        is_issuer: bool = False,
        most: int = _MOST_COMPARISONS,
    ) -> None:
        """Refuse names that the constraints do not allow.

        Args:
            subject: of a certificate.
            names: its alternative names.
            is_issuer: whether it is a CA's between: the CN of such a one names no host.
            most: how many comparisons of a name with a subtree may be made.

        Raises:
            BadRequest: one is not allowed; the text names its kind and the rule, no value, and the
                message for the log the subtrees, too.
        """
        compared = [*_of_subject(subject, names, is_issuer), *map(_compared, names)]
        subtrees = len(self.permitted) + len(self.excluded)
        if len(compared) * subtrees > most:
            raise BadRequest(
                "there are too many names for the CA's name constraints", rule="name_constraints"
            )
        for one in compared:
            try:
                self._check(one)
            except Incomparable as error:
                raise self._refusal(one, f"cannot be held against them: {error}", ()) from None

    def _check(self, name: _Compared) -> None:
        permitted = [one for one in self.permitted if one.kind == name.kind]
        excluded = [one for one in self.excluded if one.kind == name.kind]
        # All are looked at: one that is not understood counts beside one that fits.
        found = [_is_in(name, one) for one in permitted]
        if permitted and not any(found):
            raise self._refusal(name, "is in no permitted subtree", permitted)
        hit = [one for one in excluded if _is_in(name, one, is_excluded=True)]
        if hit:
            raise self._refusal(name, "is in an excluded subtree", hit)

    def _refusal(self, name: _Compared, rule: str, subtrees: Sequence[Subtree]) -> BadRequest:
        told = f" ({', '.join(one.text for one in subtrees)})" if subtrees else ""
        return BadRequest(
            f'by the name constraints of "{self.owner}" {name.label} {rule}{told}',
            text=f"by the CA's name constraints {name.label} {rule}",
            rule="name_constraints",
            attribute=_KINDS.get(name.kind, ""),
        )


def _is_in(name: _Compared, subtree: Subtree, *, is_excluded: bool = False) -> bool:
    if subtree.holds is None:
        raise Incomparable("a subtree of its kind is not understood")
    return subtree.holds(name.value, is_excluded)


# --- reading --------------------------------------------------------------------------------------


def _subtree(element: bytes) -> Subtree:
    base, *bounds = ber.parts(element, der.SEQUENCE, "subtree") or [b""]
    if not base:
        raise Malformed("a subtree without a base")
    name = GeneralName(base)
    kind = _kind(name)
    read = _READERS.get(kind)
    holds = None if read is None else read(name)
    if bounds and bounds != [_MINIMUM_0]:
        holds = None  # RFC 5280 forbids them, and nobody knows what they mean
    return Subtree(kind, _text_of(name), holds)


def _kind(name: GeneralName) -> int:
    return _OTHER_THAN_UPN if name.kind == "other" else name.der[0]


def _text_of(name: GeneralName) -> str:
    if name.kind != "ip":
        return str(name)
    half = len(name.octets) // 2
    address, mask = name.octets[:half], name.octets[half:]
    if len(name.octets) not in {2 * size for size in ADDRESS_SIZES}:
        return f"ip:#{name.octets.hex()}"
    bits = f"{int.from_bytes(mask):b}".zfill(8 * half)
    length = bits.find("0") if "0" in bits else len(bits)
    is_prefix = "1" not in bits[length:]
    return f"ip:{ip_address(address)}/{length if is_prefix else ip_address(mask)}"


def _ia5(name: GeneralName) -> str:
    try:
        return name.octets.decode("ascii")
    except UnicodeDecodeError as error:
        raise Malformed("a subtree with a text that is not ASCII") from error


def _domain(name: GeneralName) -> _Holds:
    domain = strings.lower(_ia5(name))
    end = domain if domain.startswith(".") else f".{domain}"

    def holds(text: str, is_excluded: bool) -> bool:  # noqa: FBT001
        host = strings.lower(text)
        if host.endswith("."):
            raise Incomparable("it ends with a dot")
        if not domain or host == domain or host.endswith(end):
            return True
        # What the wildcard stands for may be excluded, though not all of it is.
        return is_excluded and host.startswith("*.") and end.endswith(host[1:])

    return holds


def _mailbox(name: GeneralName) -> _Holds:
    wanted = _ia5(name)
    its_local, at_sign, its_host = wanted.rpartition("@")
    end = strings.lower(its_host)

    def holds(address: str, is_excluded: bool) -> bool:  # noqa: FBT001
        local, at, host = address.rpartition("@")
        if not at:
            raise Incomparable("it has no @")
        if not wanted:
            return is_excluded
        if not at_sign and end.startswith("."):
            return len(address) > len(end) and strings.lower(address).endswith(end)
        # The local part counts letter for letter (RFC 5280 section 7.5).
        return its_local in ("", local) and strings.lower(host) == end

    return holds


def _host_of_uri(name: GeneralName) -> _Holds:
    wanted = strings.lower(_ia5(name))

    def holds(uri: str, _: bool) -> bool:  # noqa: FBT001
        host = _host(uri)
        if wanted.startswith("."):
            return len(host) > len(wanted) and host.endswith(wanted)
        return host == wanted

    return holds


def _network(name: GeneralName) -> _Holds:
    octets = name.octets
    size = len(octets) // 2
    if len(octets) % 2 or size not in ADDRESS_SIZES:
        raise Malformed(f"a subtree of iPAddress with {len(octets)} octets")
    mask = int.from_bytes(octets[size:])
    network = int.from_bytes(octets[:size]) & mask

    def holds(address: bytes, _: bool) -> bool:  # noqa: FBT001
        return len(address) == size and int.from_bytes(address) & mask == network

    return holds


def _directory(name: GeneralName) -> _Holds:
    above = _parts(Name(name.octets))

    def holds(parts: list[list[bytes]], _: bool) -> bool:  # noqa: FBT001
        return parts[: len(above)] == above

    return holds


_READERS: dict[int, Callable[[GeneralName], _Holds]] = {
    _DNS: _domain,
    _EMAIL: _mailbox,
    _URI: _host_of_uri,
    _IP: _network,
    _DIRECTORY: _directory,
}


# --- the names of a certificate -------------------------------------------------------------------


def _of_subject(
    subject: Name,
    names: Sequence[GeneralName],
    is_issuer: bool,  # noqa: FBT001
) -> Iterator[_Compared]:
    if subject.is_empty:
        return
    yield _Compared(_DIRECTORY, "the subject", _parts(subject))
    has_host = is_issuer or any(one.der[0] == _DNS for one in names)
    for attribute in (one for rdn in subject.rdns for one in rdn):
        if attribute.oid == _EMAIL_ADDRESS:
            # Openssl refuses any other type as soon as there are constraints of whatever kind.
            if attribute.tag != strings.IA5_STRING:
                raise BadRequest(
                    "the emailAddress of the subject is no IA5String",
                    rule="name_constraints",
                    attribute="emailAddress",
                )
            yield _Compared(_EMAIL, "the emailAddress of the subject", attribute.text())
        elif attribute.oid == _COMMON_NAME and not has_host:
            text = (attribute.string or "").rstrip("\0")
            if _HOST.fullmatch(text):
                yield _Compared(_DNS, "the host name in the CN", text)


def _compared(name: GeneralName) -> _Compared:
    kind = _kind(name)
    label = f"a subjectAltName of the kind {_KINDS.get(kind, 'unknown')}"
    if kind in (_DNS, _EMAIL, _URI):
        return _Compared(kind, label, name.string)
    if kind == _DIRECTORY:
        return _Compared(kind, label, _parts(Name(name.octets)))
    return _Compared(kind, label, name.octets)


def _parts(name: Name) -> list[list[bytes]]:
    """Return the parts of a name in their order, each as it compares."""
    return [sorted(one.comparable for one in rdn) for rdn in name.rdns]


def _host(uri: str) -> str:
    """Return the host of a URI (RFC 3986 section 3.2.2).

    Raises:
        Incomparable: it has none, or an address (RFC 5280 wants it refused then), or others would
            read another one.
    """
    _, separator, rest = uri.partition(":")
    if not separator or not rest.startswith("//"):
        raise Incomparable("it names no host")
    rest = rest[2:]
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    host = authority.rpartition("@")[2].partition(":")[0]
    end = rest.find(":")
    if end < 0:
        end = rest.find("/")
    if host != (rest if end < 0 else rest[:end]) or not host:
        raise Incomparable("its host is not read alike by all")
    if _ADDRESS.fullmatch(host):
        raise Incomparable("its host is an address")
    return strings.lower(host)
