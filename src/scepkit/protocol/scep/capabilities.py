"""GetCACaps (RFC 8894 section 3.5): reading it, writing it, and choosing by it."""

from __future__ import annotations

import codecs
from collections.abc import Collection
from dataclasses import dataclass
from typing import TypeAlias

from scepkit.errors import LegacyRefused
from scepkit.protocol.algorithms import (
    AES128,
    DES3,
    SHA1,
    SHA256,
    SHA384,
    SHA512,
    Cipher,
    Digest,
    Legacy,
)
from scepkit.protocol.refusals import names_to_allow

# Keywords as the registry of RFC 8894 section 6 spells them.
AES = "AES"
DES3_KEYWORD = "DES3"
GET_NEXT_CA_CERT = "GetNextCACert"
POST = "POSTPKIOperation"
RENEWAL = "Renewal"
STANDARD = "SCEPStandard"

WHEN_TO_RENEW = "WhenToRenew"
"""Our own: the server has renewal information (RFC 9773; see `renewal_info`).

Clients find their keywords in a list in many ways. strongSwan takes a line for every keyword that
begins with it, certmonger for every keyword of its length, others look for a keyword anywhere in
the list. So this one is the beginning of none, as long as none, and holds none.
"""

Capabilities: TypeAlias = frozenset[str]

# What the strength of messages depends on, as `parse` returns it.
_PROTECTING = tuple(
    k.lower() for k in (AES, STANDARD, *(d.keyword for d in (SHA256,) if d.keyword))
)

# A list longer than this is not a list of capabilities but somebody's error page.
_MAX_BODY = 4096
_MAX_KEYWORD = 64

# Byte order marks, and what follows them.
_MARKS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}


@dataclass(frozen=True, slots=True)
class Choice:
    """The algorithms and methods to talk to a CA with (checklist section 8).

    Attributes:
        digest: for our signatures.
        cipher: for our envelopes.
        post: whether PKIOperation goes by POST.
        renewal: whether the CA takes RenewalReq.
        standard: whether the CA says SCEPStandard, that is, speaks RFC 8894.
        renews: whether the CA says Renewal, that is, renews in one way or another.
    """

    digest: Digest
    cipher: Cipher
    post: bool
    renewal: bool
    standard: bool = False
    renews: bool = False


def offers_renewal_info(found: Capabilities) -> bool:
    """Say whether a server has renewal information (RFC 9773)."""
    return WHEN_TO_RENEW.lower() in found


def parse(body: bytes) -> Capabilities:
    """Read the body of a GetCACaps answer (RFC 8894 section 3.5.2).

    Lines end in LF or CRLF, keywords compare without case, unknown ones are kept and ignored.
    A file that an editor has saved may begin with a byte order mark, and end its lines in CR; some
    servers send the NUL behind a string. An HTML page, which some answer with, is no capability.

    Returns:
        The keywords in lower case.
    """
    if len(body) > _MAX_BODY:
        return frozenset()
    text = _text(body).lower()
    if text.lstrip().startswith("<"):
        return frozenset()
    words = (line.strip() for line in text.replace("\0", "\n").splitlines())
    return frozenset(word for word in words if 0 < len(word) <= _MAX_KEYWORD)


def _text(body: bytes) -> str:
    for mark, encoding in _MARKS.items():
        if body.startswith(mark):
            return body[len(mark) :].decode(encoding, "replace")
    return body.decode("ascii", "replace")


def render(keywords: Collection[str]) -> bytes:
    """Write the body of a GetCACaps answer: one keyword a line, LF, as the field reads it."""
    return "".join(f"{keyword}\n" for keyword in keywords).encode("ascii")


def offered(allowed: Collection[Legacy]) -> tuple[str, ...]:
    """Return the capabilities of a server with these legacy algorithms, in order.

    AES stands before DES3 because certmonger takes whichever comes first.
    What SCEPStandard implies is said too, since many clients only know the single keywords.
    DES and MD5 are never said, even when allowed.
    """
    keywords = [AES]
    if Legacy.DES3 in allowed:
        keywords.append(DES3_KEYWORD)
    keywords += [POST, *(d.keyword for d in (SHA256, SHA384, SHA512) if d.keyword)]
    if Legacy.SHA1 in allowed and SHA1.keyword:
        keywords.append(SHA1.keyword)
    return (*keywords, STANDARD)


def choose(capabilities: Capabilities, allowed: Collection[Legacy]) -> Choice:
    """Choose the best algorithms of both ends: never below AES and SHA-256 unless allowed.

    Args:
        capabilities: what `parse` returned.
        allowed: the legacy algorithms that the user allowed.

    Raises:
        LegacyRefused: the CA lists neither AES with SHA-256 nor what was allowed.
    """

    def has(keyword: str | None) -> bool:
        return keyword is not None and keyword.lower() in capabilities

    standard = has(STANDARD)
    hashes, encrypts = standard or has(SHA256.keyword), standard or has(AES)
    missing = {
        keyword: legacy
        for keyword, modern, legacy in (
            ("SHA-256", hashes, Legacy.SHA1),
            ("AES", encrypts, Legacy.DES3),
        )
        if not modern and legacy not in allowed
    }
    if missing:
        raise LegacyRefused(
            f"the CA does not say that it can do {' and '.join(missing)}",
            hint="if it really is that old, allow it",
            names=names_to_allow(allowed, missing.values()),
        )
    return Choice(
        digest=SHA256 if hashes else SHA1,
        cipher=AES128 if encrypts else DES3,
        post=standard or has(POST),
        renewal=standard and has(RENEWAL),
        standard=standard,
        renews=has(RENEWAL),
    )


def withdrawn(found: Capabilities, seen: Capabilities) -> Capabilities:
    """Return the capabilities that protect messages and that the CA no longer lists (P-61).

    GetCACaps is not protected, so whoever is in between can shorten it. A client that remembers
    goes on with `found | withdrawn(found, seen)`: a CA that really cannot do it any more answers
    badAlg, and whoever is in between gains nothing.

    Args:
        found: what the CA says now.
        seen: what the CA has ever said.
    """
    if STANDARD.lower() in found:
        return frozenset()
    return frozenset(keyword for keyword in _PROTECTING if keyword in seen - found)
