"""The enrolment that a phone or a laptop is configured for, whatever the form of the file."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from scepkit.errors import UsageError
from scepkit.protocol.distinguished_name import Name
from scepkit.protocol.general_name import GeneralName, parse_san
from scepkit.protocol.rfc4514 import parse_subject

KEY_SIZES = (2048, 4096)
"""The RSA keys, in bits, that both Apple's and Microsoft's devices make and that are of use."""

# Controls, surrogates and line ends are not in XML, or not as they were; the rest would have a
# text read otherwise than it is compared.
_UNFIT = frozenset({"Cc", "Cs", "Zl", "Zp"})
_TURNING = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_LAST_OF_PLANE = 0xFFFE


@dataclass(frozen=True, slots=True)
class DeviceEnrolment:
    """An enrolment to configure a device for.

    Attributes:
        endpoint: the name of the endpoint.
        url: its URL.
        subject: the subject to ask for.
        names: the subject alternative names to ask for.
        chain: the certificate of its CA and those above, as far as they are known.
        shown_top: the uppermost certificate that GetCACert shows.
        key_size: the bits of the RSA key.
        polls: whether requests wait for an operator.
        challenge: the challengePassword; "" for none. Secret.
    """

    endpoint: str
    url: str
    subject: Name
    names: tuple[GeneralName, ...]
    chain: tuple[x509.Certificate, ...]
    shown_top: x509.Certificate
    key_size: int = KEY_SIZES[0]
    polls: bool = False
    challenge: str = field(default="", repr=False)

    @property
    def common_name(self) -> str:
        """Return what people call it by: the subject's CN, or all of the subject."""
        texts = [one.text() for rdn in self.subject.rdns for one in rdn if one.label == "CN"]
        return texts[-1] if texts else str(self.subject)

    @property
    def shows_root(self) -> bool:
        """Say whether GetCACert shows the root, by which some devices know the CA."""
        return is_root(self.shown_top) and self.shown_top == self.chain[-1]


def read_subject(text: str) -> Name:
    """Read the subject of a configuration.

    Raises:
        UsageError: it is none, or has characters that a configuration cannot hold.
    """
    subject = Name.of(parse_subject(text))
    for rdn in subject.rdns:
        for one in rdn:
            check_text(f"the subject's {one.label}", one.text())
    return subject


def read_names(texts: Sequence[str]) -> tuple[GeneralName, ...]:
    """Read the subject alternative names of a configuration.

    Raises:
        UsageError: one is none, or has characters that a configuration cannot hold.
    """
    names = tuple(GeneralName.of(parse_san(text)) for text in texts)
    for one in names:
        if one.kind != "ip":
            check_text(f"the name {one}", one.string)
    return names


def check_text(what: str, text: str) -> None:
    """Refuse a text that XML does not hold as it is, or that is shown otherwise than it reads.

    Args:
        what: the text, for the error.
        text: it.

    Raises:
        UsageError: it has such characters.
    """
    for character in text:
        if (
            unicodedata.category(character) in _UNFIT
            or _TURNING.match(character)
            or ord(character) & _LAST_OF_PLANE == _LAST_OF_PLANE
        ):
            raise UsageError(
                f"{what} has the character U+{ord(character):04X}, which no configuration can hold",
                hint="leave out control characters, and those that turn the direction of text",
            )


def key_size(wanted: int | None, smallest: int, largest: int) -> int:
    """Return the bits of the RSA key that a device is to make.

    Args:
        wanted: what the operator chose; None for the smallest that fits.
        smallest: what the profile takes at least.
        largest: what it takes at most.

    Raises:
        UsageError: the profile takes none of these keys.
    """
    fitting = [size for size in KEY_SIZES if smallest <= size <= largest]
    if wanted in fitting:
        return wanted
    if wanted is None and fitting:
        return fitting[0]
    named = "none of these" if wanted is None else f"no RSA key of {wanted} bits"
    made = " or ".join(map(str, KEY_SIZES))
    raise UsageError(
        f"these devices make RSA keys of {made} bits, and the endpoint's profile takes {named}",
        hint=f"choose {fitting[0]}" if fitting else "use an endpoint that takes such keys",
    )


def thumbprint(certificate: x509.Certificate) -> bytes:
    """Return the SHA-1 of a certificate, by which these devices know a CA."""
    return certificate.fingerprint(hashes.SHA1())  # noqa: S303 - what they compare


def is_root(certificate: x509.Certificate) -> bool:
    """Say whether a certificate is above all others."""
    return certificate.subject == certificate.issuer
