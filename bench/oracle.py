"""Does a refused request tell by its time how far its decryption came? (checklist P-54)

    make oracle
    python bench/oracle.py --rounds 5000

The server decrypts for anonymous senders. Somebody who has recorded a request may send pieces of it
again, in an envelope signed by himself, and learns from each answer. So each way to fail is made
here many times, all from one recorded request and all of the same size, and is put to a Responder
without a network: in each round every way once, in random order.

What is measured is the opening, from the verified message to the refusal: before and after it all
messages take the same path. It is measured as CPU time of the thread, which other programs disturb
less than the clock.
Two ways are compared by the median of their differences within a round, with its 99 % interval by
order statistics, and by the rank test of Mann and Whitney over all samples.

Two comparisons are there to test the test: `again` is the first way under another name, and must
show no difference; `control` is the first way with a known delay, which must be found.
The program fails if either goes wrong, if the answers differ, or if an interval leaves its margin.
What the margins are good for is in bench/README.md.
"""

from __future__ import annotations

import argparse
import math
import os
import random
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import cast

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.x509.oid import ExtensionOID, NameOID
from rich.console import Console
from rich.table import Table

from scepkit.ca.authority import Authority
from scepkit.enrolment.issuers import Issuers, IssuingCA
from scepkit.enrolment.rules import Rules
from scepkit.enrolment.sender import Senders
from scepkit.errors import FailInfoError
from scepkit.protocol import csr
from scepkit.protocol.algorithms import AES128, RSAES_OAEP, SHA256
from scepkit.protocol.asn1 import ber, der
from scepkit.protocol.certificate import Certificate
from scepkit.protocol.cms import enveloped as envelope
from scepkit.protocol.cms import signed
from scepkit.protocol.cms.enveloped import Credential
from scepkit.protocol.scep.attributes import MessageType, TransactionID, write
from scepkit.protocol.scep.messages import GetCert, PKCSReq
from scepkit.protocol.scep.pkimessage import PKIMessage, VerifiedMessage
from scepkit.protocol.scep.responder import Responder
from scepkit.store import Store

DELAY = 40.0
"""Microseconds of work that the control has in excess."""

_BLOCK = AES128.block_size
_KEY_HEADER = b"\x04\x82\x01\x00"  # the OCTET STRING of 256 octets: the encrypted key


@dataclass(frozen=True)
class Recorded:
    """A request on the wire, with its key, which makes more of its kind.

    Attributes:
        sealed: the EnvelopedData, DER.
        padded: the PKCS#10 with its padding.
        cek: the content-encryption key.
        iv: the initialisation vector.
        recipient: the RA's key.
        scheme: how the key is encrypted.
    """

    sealed: bytes
    padded: bytes
    cek: bytes
    iv: bytes
    recipient: rsa.RSAPublicKey
    scheme: padding.AsymmetricPadding

    def with_plaintext(self, padded: bytes) -> bytes:
        """Encrypt another plaintext of the same length, padding and all."""
        encryptor = Cipher(algorithms.AES(self.cek), modes.CBC(self.iv)).encryptor()
        encrypted = encryptor.update(padded) + encryptor.finalize()
        return self.sealed[: -len(encrypted)] + encrypted

    def with_key(self, encrypted: bytes) -> bytes:
        """Put another encrypted key into it."""
        at = self.sealed.index(_KEY_HEADER) + len(_KEY_HEADER)
        return self.sealed[:at] + encrypted + self.sealed[at + len(encrypted) :]

    def with_cek(self, cek: bytes, scheme: padding.AsymmetricPadding | None = None) -> bytes:
        """Encrypt another key to the recipient, correctly, or in another scheme."""
        return self.with_key(self.recipient.encrypt(cek, scheme or self.scheme))

    @property
    def size(self) -> int:
        """How many octets the PKCS#10 has."""
        return len(self.padded) - self.padded[-1]


Way = Callable[[Recorded], bytes]


# --- the ways to fail -----------------------------------------------------------------------------


def key_transport(recorded: Recorded) -> bytes:
    """Send a random number for the encrypted key: its PKCS#1 padding is wrong."""
    modulus = recorded.recipient.public_numbers().n
    return recorded.with_key(random.randrange(1 << 2040, modulus).to_bytes(256, "big"))


def key_length(recorded: Recorded) -> bytes:
    """Send a key that is correctly padded and encrypted, and too long for the cipher."""
    return recorded.with_cek(os.urandom(24))


def wrong_key(recorded: Recorded) -> bytes:
    """Send a key of the right length, and not the right one."""
    return recorded.with_cek(os.urandom(16))


def wrong_padding(recorded: Recorded) -> bytes:
    """Leave everything right but the last octet: 0 is no padding."""
    return recorded.with_plaintext(recorded.padded[:-1] + b"\0")


def felt_padding(recorded: Recorded) -> bytes:
    """Get the padding wrong, as somebody does who searches for it.

    To change the last block of what is decrypted he changes the last block but one of what is
    encrypted, which garbles that block.
    """
    end = len(recorded.padded)
    return recorded.with_plaintext(
        recorded.padded[: end - 2 * _BLOCK] + os.urandom(2 * _BLOCK - 1) + b"\0"
    )


def rubbish(recorded: Recorded) -> bytes:
    """Send a content that is correctly padded, and rubbish from its first octet."""
    return recorded.with_plaintext(
        os.urandom(recorded.size) + recorded.padded[recorded.size :],
    )


def wrong_structure(recorded: Recorded) -> bytes:
    """Garble one block in the midst of the PKCS#10: its public key cannot be read."""
    at = recorded.padded.index(b"\x30\x82\x01\x22") // _BLOCK * _BLOCK
    return recorded.with_plaintext(
        recorded.padded[:at] + os.urandom(2 * _BLOCK) + recorded.padded[at + 2 * _BLOCK :]
    )


def wrong_signature(recorded: Recorded) -> bytes:
    """Get the padding right, as he does at last; the PKCS#10's signature is wrong all the same."""
    end = len(recorded.padded)
    return recorded.with_plaintext(
        recorded.padded[: end - 2 * _BLOCK] + os.urandom(_BLOCK) + recorded.padded[end - _BLOCK :]
    )


def oaep_by_the_rfc(recorded: Recorded) -> bytes:
    """Send a wrong key, padded as the RFC has it where no mask is named."""
    return recorded.with_cek(os.urandom(16), _oaep(hashes.SHA1()))


def captured(recorded: Recorded) -> bytes:
    """Send the recorded envelope as it is, signed anew: what is inside is not the thief's."""
    return recorded.sealed


# One block each, as if it were the IssuerAndSerialNumber of a GetCert: nothing in it is signed.
_NAMES = b"\x30\x0c\x30\x00\x02\x08\x11serial\x11"


def names(recorded: Recorded) -> bytes:
    """Send names that can be read, and that nobody has."""
    return recorded.with_plaintext(_NAMES + b"\2\2")


def names_padding(recorded: Recorded) -> bytes:
    """Send the same with wrong padding: what somebody gets who searches for it."""
    return recorded.with_plaintext(_NAMES + b"\2\0")


def names_length(recorded: Recorded) -> bytes:
    """Send the same with a wrong length inside."""
    return recorded.with_plaintext(_NAMES[:5] + b"\x70" + _NAMES[6:] + b"\2\2")


WAYS: dict[str, Way] = {
    "key transport": key_transport,
    "key length": key_length,
    "wrong key": wrong_key,
    "padding alone": wrong_padding,
    "padding searched": felt_padding,
    "padding found": wrong_signature,
    "content: rubbish": rubbish,
    "content: structure": wrong_structure,
    "names": names,
    "names: padding": names_padding,
    "names: length": names_length,
    "OAEP: neither": key_transport,
    "OAEP: key length": key_length,
    "OAEP: wrong key": wrong_key,
    "OAEP: wrong, RFC": oaep_by_the_rfc,
    "OAEP: right key": wrong_signature,
    "captured: good": captured,
    "captured: odd name": captured,
    "captured: odd extension": captured,
    "again": key_transport,
    "control": key_transport,
}

# What is compared with what, and how many microseconds may be between them.
COMPARED = (
    ("key length", "key transport", 15.0),
    ("wrong key", "key transport", 15.0),
    ("content: rubbish", "wrong key", 15.0),
    ("padding found", "padding searched", 15.0),
    ("padding alone", "padding found", 60.0),
    ("padding found", "wrong key", 60.0),
    ("content: structure", "wrong key", 60.0),
    ("names: padding", "names", 15.0),
    ("names: length", "names", 60.0),
    ("OAEP: key length", "OAEP: neither", 15.0),
    ("OAEP: wrong key", "OAEP: neither", 15.0),
    ("OAEP: wrong, RFC", "OAEP: neither", 15.0),
    ("OAEP: wrong, RFC", "OAEP: wrong key", 15.0),
    ("OAEP: right key", "OAEP: neither", 60.0),
    ("captured: odd name", "captured: good", 15.0),
    ("captured: odd extension", "captured: good", 15.0),
    ("again", "key transport", 15.0),
    ("control", "key transport", math.inf),
)
_GET_CERT = frozenset({"names", "names: padding", "names: length"})


def _oaep(mask: hashes.HashAlgorithm) -> padding.OAEP:
    return padding.OAEP(padding.MGF1(mask), hashes.SHA256(), label=None)


# RSAES-OAEP that names SHA-256 and no mask: the RFC's is SHA-1, Go's libraries mean SHA-256.
_EXPLICIT = 0xA0  # [0]
_NO_MASK = der.algorithm(RSAES_OAEP, der.sequence(der.tagged(0, der.algorithm(SHA256.oid, b""))))


# --- the two ends ---------------------------------------------------------------------------------


def holder(name: str) -> Credential:
    """Make an RSA key with a self-signed certificate."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    subject = x509.Name.from_rfc4514_string(f"CN={name}")
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(subject, subject, key.public_key(), 1)
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    return Credential(key, Certificate.of(certificate))


def request_of(device: Credential, kind: str = "") -> bytes:
    """Make the PKCS#10 that somebody records, or one of the same size with something odd inside.

    It ends one octet short of a block. That is the best case for whoever searches for a padding:
    the shortest one, a single octet of 1, leaves the PKCS#10 at its right length.
    """
    for length in range(1, 2 * _BLOCK):
        name = "d" * length if kind != "captured: odd name" else "\0" * length
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        usage = b"\x03\x02\x05\xa0" if kind != "captured: odd extension" else b"\x05\x02\x05\xa0"
        wanted = x509.UnrecognizedExtension(ExtensionOID.KEY_USAGE, usage)
        request = csr.build(
            subject,
            device.key,
            challenge_password="A" * 32,
            extensions=[x509.Extension(wanted.oid, critical=False, value=wanted)],
        )
        if len(request) % _BLOCK == _BLOCK - 1:
            break
    return request


def record(content: bytes, ra: Credential) -> Recorded:
    """Seal something for the RA, and keep the keys."""
    used: list[bytes] = []

    def remembered(size: int) -> bytes:
        used.append(os.urandom(size))
        return used[-1]

    sealed = envelope.seal(content, ra.certificate, AES128, remembered)
    key = ra.certificate.public_key
    assert isinstance(key, rsa.RSAPublicKey)
    fill = _BLOCK - len(content) % _BLOCK
    padded = content + bytes([fill]) * fill
    return Recorded(sealed, padded, used[0], used[1], key, padding.PKCS1v15())


def without_mask(recorded: Recorded, ra: Credential) -> Recorded:
    """Lock its key anew, by the OAEP that can be read in two ways."""
    kind, explicit = ber.parts(recorded.sealed, der.SEQUENCE, "ContentInfo")
    enveloped = ber.content(explicit, _EXPLICIT, "content of a ContentInfo")
    _, _, encrypted = ber.parts(enveloped, der.SEQUENCE, "EnvelopedData")
    scheme = _oaep(hashes.SHA256())
    lock = der.sequence(
        der.INTEGER_0,
        der.sequence(ra.certificate.issuer, ra.certificate.serial_number),
        _NO_MASK,
        der.octet_string(recorded.recipient.encrypt(recorded.cek, scheme)),
    )
    content = der.sequence(der.INTEGER_0, der.set_of(lock), encrypted)
    sealed = der.sequence(kind, der.tagged(0, content))
    return replace(recorded, sealed=sealed, scheme=scheme)


def signed_by(thief: Credential, enveloped: bytes, kind: MessageType) -> bytes:
    """Sign an envelope as its own sender, as anybody can (P-55)."""
    attributes = write(TransactionID.new(os.urandom), kind, os.urandom(16))
    return signed.Signer(thief, SHA256).sign(enveloped, attributes)


def open_(responder: Responder, senders: Senders, message: bytes) -> tuple[float, FailInfoError]:
    """Open a message as a server does; return when that began, and why it is refused."""
    received = responder.receive(message)
    verified = responder.verify(received)
    started = time.thread_time_ns()
    return started, _refusal(responder, senders, received, verified)


def _refusal(
    responder: Responder, senders: Senders, received: PKIMessage, verified: VerifiedMessage
) -> FailInfoError:
    try:
        request = responder.open(verified).request
        if isinstance(request, PKCSReq):
            senders.identify(
                verified.certificate,
                verified.digest,
                request.csr,
                is_renewal=False,
                embedded=received.signed.certificates,
                now=datetime.now(UTC),
            )
    except FailInfoError as error:
        return error
    if not isinstance(request, GetCert):
        raise SystemExit("a request was opened that cannot be")
    # Endpoint answers names that nobody has like those that could not be read.
    return envelope.undecryptable("")


# --- measuring ------------------------------------------------------------------------------------


Answers = dict[bool, set[tuple[int, str]]]
"""All that was answered: to what was opened, and to what was not."""


def measure(rounds: int) -> tuple[dict[str, list[float]], Answers]:
    """Return the microseconds of each way, in rounds, and all that was answered."""
    ra, device, thief = holder("RA"), holder("device"), holder("thief")
    responder = Responder(signer=ra, credentials=[ra], random=os.urandom)
    issuers = Issuers([IssuingCA(Authority(ra.certificate.x509(), ra.key), (ra,))])
    # Nobody here signs with a certificate of the CA, so that no store is asked.
    senders = Senders(endpoint="", issuers=issuers, rules=Rules(), store=cast("Store", None))
    inside = {name: record(request_of(device, name), ra) for name in WAYS if "captured" in name}
    request, short = record(request_of(device), ra), record(_NAMES, ra)
    maskless = without_mask(request, ra)
    samples: dict[str, list[float]] = {name: [] for name in WAYS}
    answers: Answers = {True: set(), False: set()}

    def made(name: str) -> bytes:
        if name in _GET_CERT:
            return signed_by(thief, WAYS[name](short), MessageType.GET_CERT)
        recorded = maskless if name.startswith("OAEP") else inside.get(name, request)
        return signed_by(thief, WAYS[name](recorded), MessageType.PKCS_REQ)

    for number in range(-50, rounds):
        messages = [(name, made(name)) for name in WAYS]
        random.shuffle(messages)
        for name, message in messages:
            started, error = open_(responder, senders, message)
            if name == "control":
                _delay(DELAY)
            spent = (time.thread_time_ns() - started) / 1000
            if number >= 0:  # the first rounds warm caches up
                samples[name].append(spent)
                answers[name in inside].add((error.fail_info, error.text))
    return samples, answers


def _delay(microseconds: float) -> None:
    end = time.thread_time_ns() + microseconds * 1000
    while time.thread_time_ns() < end:
        pass


@dataclass(frozen=True)
class Compared:
    """One way against another, in microseconds."""

    name: str
    other: str
    margin: float
    difference: float
    low: float
    high: float
    p: float

    @property
    def is_within(self) -> bool:
        """Whether the whole interval is within the margin."""
        return self.low > -self.margin and self.high < self.margin


def compare(name: str, other: str, margin: float, samples: dict[str, list[float]]) -> Compared:
    """Compare two ways; each has one sample a round."""
    pairs = zip(samples[name], samples[other], strict=True)
    differences = sorted(one - two for one, two in pairs)
    # The ranks between which the median is with 99 % (binomial, normal approximation).
    reach = 2.576 * math.sqrt(len(differences)) / 2
    middle = len(differences) / 2
    return Compared(
        name,
        other,
        margin,
        statistics.median(differences),
        differences[max(0, math.floor(middle - reach))],
        differences[min(len(differences) - 1, math.ceil(middle + reach))],
        mann_whitney(samples[name], samples[other]),
    )


def mann_whitney(one: Sequence[float], other: Sequence[float]) -> float:
    """Return the two-sided p-value (normal approximation; ties are rare here)."""
    ranked = sorted([(value, 0) for value in one] + [(value, 1) for value in other])
    rank_sum = sum(rank for rank, (_, which) in enumerate(ranked, 1) if which == 0)
    count, others = len(one), len(other)
    u = rank_sum - count * (count + 1) / 2
    spread = math.sqrt(count * others * (count + others + 1) / 12)
    return math.erfc(abs(u - count * others / 2) / spread / math.sqrt(2))


# --- the verdict ----------------------------------------------------------------------------------


def faults(compared: Sequence[Compared], answers: Answers) -> list[str]:
    """Say what went wrong."""
    found = [f"{len(one)} different answers" for one in answers.values() if len(one) != 1]
    for one in compared:
        if one.name == "control":
            if one.low < DELAY / 2:
                found.append("the control's delay was not found: measure with more rounds")
        elif not one.is_within:
            found.append(f"{one.name} and {one.other}: {one.low:+.1f} to {one.high:+.1f} µs")
    return found


def show(compared: Sequence[Compared], samples: dict[str, list[float]]) -> None:
    """Print the table."""
    table = Table(title="µs of CPU time")
    for column in ("way to fail", "median", "against", "difference", "99 %", "margin", "p (rank)"):
        table.add_column(column)
    for one in compared:
        table.add_row(
            one.name,
            f"{statistics.median(samples[one.name]):.0f}",
            one.other,
            f"{one.difference:+.1f}",
            f"{one.low:+.1f} … {one.high:+.1f}",
            "found" if one.name == "control" else f"{one.margin:.0f}",
            f"{one.p:.2g}",
        )
    Console(width=110).print(table)


def main() -> None:
    """Measure, print, and fail if there is an oracle."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3000)
    samples, answers = measure(parser.parse_args().rounds)
    compared = [compare(*row, samples) for row in COMPARED]
    show(compared, samples)
    if found := faults(compared, answers):
        sys.exit("\n".join(f"FAILED: {one}" for one in found))
    print("One answer, and nothing differs by as much as its margin.")


if __name__ == "__main__":
    main()
