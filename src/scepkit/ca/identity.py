"""Identity: the names and purposes by which Active Directory knows who the holder logs in as.

A domain controller believes them of every CA that it trusts for log-in. So whoever asks for one has
to be named by somebody who knows: a challenge that is bound to the name, or the certificate that is
renewed and has it.
Nothing else in a certificate says that: a common name, an e-mail address or an address in the
subject that reads like a user principal name maps to an account only where an administrator has
written that into the account.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import Enum
from urllib.parse import unquote_to_bytes

from cryptography.x509 import ObjectIdentifier
from cryptography.x509.oid import ExtendedKeyUsageOID

from scepkit.errors import BadRequest, Malformed
from scepkit.protocol.asn1 import der
from scepkit.protocol.asn1.strings import Undecodable
from scepkit.protocol.extensions import extension, purpose_name
from scepkit.protocol.general_name import GeneralName

PURPOSES = frozenset(
    {
        ExtendedKeyUsageOID.SMARTCARD_LOGON,
        ObjectIdentifier("1.3.6.1.5.2.3.4"),  # id-pkinit-KPClientAuth (RFC 4556)
        ObjectIdentifier("1.3.6.1.5.2.3.5"),  # id-pkinit-KPKdc: who speaks for the domain
        ObjectIdentifier("1.3.6.1.4.1.311.20.2.1"),  # enrolment agent: for any other user
    }
)
"""The purposes that make a certificate good for a log-in, or for one in another's name."""

KINDS = frozenset({"upn", "uri"})
"""The kinds of alternative names that may say who somebody is; no name of another kind does."""

# Microsoft's "tag:microsoft.com,2022-09-14:sid:S-1-5-…". All of their tags count: those to come
# would be believed by domain controllers before they are known here.
_TAG = b"tag:microsoft.com,"
_SID = re.compile(r"tag:microsoft\.com,2022-09-14:sid:(S-1-[0-9]{1,15}(?:-[0-9]{1,10}){1,15})")
_SECURITY = der.oid(ObjectIdentifier("1.3.6.1.4.1.311.25.2"))  # szOID_NTDS_CA_SECURITY_EXT
_OBJECT_SID = der.oid(ObjectIdentifier("1.3.6.1.4.1.311.25.2.1"))
# What a reader may take for nothing.
_IGNORED = bytes([*range(0x21), 0x7F])
_MOST_DECODED = 8


def is_name(name: GeneralName) -> bool:
    """Say whether a name is a user principal name, or a URI with a security identifier."""
    match name.kind:
        case "upn":
            return True
        case "uri":
            try:
                return _has_tag(name.octets)
            except (Malformed, Undecodable):
                return True
    return False


def _has_tag(uri: bytes) -> bool:
    """Look for Microsoft's tag in any case, percent-encoded or not, as often as may be."""
    for _ in range(_MOST_DECODED):
        if _TAG in uri.translate(None, _IGNORED).lower():
            return True
        decoded = unquote_to_bytes(uri)
        if decoded == uri:
            return False
        uri = decoded
    # Nobody encodes an address so often who has nothing to hide.
    return True


def sid_extension(names: Iterable[GeneralName]) -> bytes:
    """Return Microsoft's extension with the security identifier that is in a URI among names, DER.

    Domain controllers that do not know the URI look for the extension (MS-WCCE 2.2.2.7.7.4).

    Returns:
        Nothing where no name has one.

    Raises:
        BadRequest: two names have different ones, or one that is written otherwise than Microsoft
            does.
    """
    found = {name.string for name in names if name.kind == "uri" and is_name(name)}
    if not found:
        return b""
    sids = {_SID.fullmatch(uri) for uri in found}
    if len(found) > 1 or None in sids:
        raise BadRequest(
            "the uris with a security identifier are not one "
            "tag:microsoft.com,2022-09-14:sid:S-1-…, written so",
            rule="identity",
            attribute="uri",
        )
    (sid,) = (one[1] for one in sids if one is not None)
    value = der.tagged(0, der.octet_string(sid.encode("ascii")))
    return extension(_SECURITY, der.sequence(der.tagged(0, _OBJECT_SID + value)))


def asked(
    names: Iterable[GeneralName], purposes: Iterable[ObjectIdentifier] | None
) -> frozenset[str]:
    """Return the identity among names and purposes, each as text that compares."""
    found = frozenset(str(name) for name in names if is_name(name))
    return found.union(one.dotted_string for one in purposes or () if one in PURPOSES)


class Identity(Enum):
    """The treatment of the identity that a request asks for."""

    LEFT_OUT = "left out"
    """The profile is not for log-ins: a certificate of it is good without."""
    REFUSED = "refused"
    """Nobody vouches for it: a certificate without would fail later, when somebody logs in."""
    TAKEN_OVER = "taken over"
    """Somebody vouches for it."""

    # That of `Enum` is a call of Python, and each certificate looks its purposes up.
    __hash__ = object.__hash__

    def takes(self, name: GeneralName) -> bool:
        """Say whether a name may be in the certificate as far as identity goes.

        Raises:
            BadRequest: it may not, and is not left out either.
        """
        if self is Identity.TAKEN_OVER or not is_name(name):
            return True
        if self is Identity.REFUSED:
            kind = "user principal name" if name.kind == "upn" else "uri with a security identifier"
            raise _not_vouched(f"a {kind}")
        return False

    def purposes(self, asked: tuple[ObjectIdentifier, ...]) -> tuple[ObjectIdentifier, ...]:
        """Return those of the purposes that may be in the certificate as far as identity goes.

        Raises:
            BadRequest: one may not, and is not left out either.
        """
        if self is Identity.TAKEN_OVER or PURPOSES.isdisjoint(asked):
            return asked
        if self is Identity.REFUSED:
            refused = next(one for one in asked if one in PURPOSES)
            raise _not_vouched(f"the purpose {purpose_name(refused)}")
        return tuple(one for one in asked if one not in PURPOSES)


def _not_vouched(what: str) -> BadRequest:
    return BadRequest(
        f"{what} is only for a challenge or a service that names it, or for a renewal that has it "
        "already (identity of the profile)",
        rule="identity",
        hint="bind the challenge to the subject and to these names",
    )
