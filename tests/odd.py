"""A CA whose certificate no strict reader takes, and what it issues: a client has to live with it.

Everything is written by the tests' own DER.
"""

from __future__ import annotations

import os
from datetime import timedelta

import forge
import httpd
import keys
from der import bits, integer, octets, oid, printable, seq, set_, tlv
from httpd import Site
from pair import _Public
from scepkit.protocol import cmp
from scepkit.protocol.scep.http import HTTPResponse
from scepkit.protocol.scep.messages import GetCert, GetCRL, Success

V3 = tlv(0xA0, integer(2))
TRUE, FALSE = tlv(0x01, b"\xff"), tlv(0x01, b"\x00")

BASIC, USAGE, NAMES = "2.5.29.19", "2.5.29.15", "2.5.29.17"
# keyCertSign, cRLSign, digitalSignature, keyEncipherment.
CA_USAGE = tlv(0x03, b"\x01\xa6")


def name(*attributes: tuple[str, bytes]) -> bytes:
    return seq(*(set_(seq(oid(kind), value)) for kind, value in attributes))


PLAIN = name(("2.5.4.3", printable("Plain CA")))
# Of the public case that this is about: pyca/cryptography#12698.
SMITH = name(("2.5.4.10", printable("Smith & Sons")), ("2.5.4.3", printable("Root_CA <test>!@*")))
LATIN = name(("2.5.4.3", tlv(0x13, b"M\xfcller CA")))

SERIALS = {
    "negative": integer(-5),
    "zero": integer(0),
    "padded": tlv(0x02, b"\x00\x00\x05"),
    "padded negative": tlv(0x02, b"\xff\xff\x80"),
}


def extension(dotted: str, value: bytes, *flags: bytes) -> bytes:
    return seq(oid(dotted), *flags, octets(value))


def extensions(*many: bytes) -> bytes:
    return tlv(0xA3, seq(*many))


def period() -> tuple[str, str]:
    start = httpd.today() - timedelta(days=1)
    return tuple(f"{one:%y%m%d%H%M%SZ}" for one in (start, start + timedelta(days=30)))


def ca(subject: bytes = PLAIN, serial: bytes | None = None, which: str = "odd-ca") -> forge.Odd:
    """Return a CA; its keyUsage has `critical FALSE` written out."""
    key = keys.rsa_key(which)
    der = forge.certificate(
        key,
        subject=subject,
        serial=serial,
        version=V3,
        validity=period(),
        extensions=extensions(extension(BASIC, seq(TRUE), TRUE), extension(USAGE, CA_USAGE, FALSE)),
    )
    return forge.Odd(key, der)


def leaf(issuer: forge.Odd, wanted, serial: bytes, *more: bytes) -> bytes:
    """Return a certificate with the subject and the key of a request."""
    return forge.certificate(
        _Public(wanted.public_key),
        subject=wanted.subject.der,
        issuer=issuer.certificate.subject,
        serial=serial,
        version=V3,
        validity=period(),
        # As Windows' NDES client has it: no CA, and how many CAs may be below.
        extensions=extensions(extension(BASIC, b"\x30\x03\x02\x01\x00"), *more),
        signing_key=issuer.key,
    )


def crl(issuer: forge.Odd, subject: bytes | None = None) -> bytes:
    """Return a CRL with one entry: it has as many parts as a certificate."""
    algorithm = forge.algorithm(forge.WITH_RSA["sha256"])
    times = [tlv(0x17, one.encode()) for one in period()]
    entries = seq(seq(integer(7), times[0]))
    tbs = seq(integer(1), algorithm, subject or issuer.certificate.subject, *times, entries)
    return seq(tbs, algorithm, bits(forge.sign(issuer.key, tbs, "sha256")))


class CA:
    """What the odd CA decides: it grants everything, and gives what it issued.

    Attributes:
        issued: the certificates, DER.
        give: what a Success holds, given the certificate.
    """

    def __init__(self, holder: forge.Odd, serial: bytes = SERIALS["padded"]) -> None:
        self.holder, self.serial = holder, serial
        self.issued: list[bytes] = []
        self.give = lambda der, wanted: (der,)

    def __call__(self, server, request, sender):
        if isinstance(request, GetCert):
            assert request.issuer == self.holder.certificate.subject
            assert request.serial_number == forge.Odd(None, self.issued[-1]).certificate.serial
            return Success((self.issued[-1],))
        if isinstance(request, GetCRL):
            return Success(crls=(crl(self.holder),))
        wanted = server.wanted[sender.attributes.transaction_id]
        alternatives = [e.der for e in wanted.extensions if oid(NAMES) in e.der]
        self.issued.append(leaf(self.holder, wanted, self.serial, *alternatives))
        return Success(self.give(self.issued[-1], wanted))


class OddSite(Site):
    """The odd CA's server on a socket, which speaks CMP as well."""

    def __init__(self, authority: CA, **how) -> None:
        super().__init__(authority, ra=None, authority=authority.holder, **how)

    def answer(self, request):
        if not self.paths[-1].startswith("/cmp"):
            return super().answer(request)
        der = cmp.seal_response(
            cmp.read_request(request.body),
            cmp.ACCEPTED,
            cmp.Signer(self.scep.ca.credential),
            now=httpd.today(),
            random=os.urandom,
        )
        return HTTPResponse(200, der, cmp.MEDIA_TYPE)
