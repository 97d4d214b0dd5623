"""CMP messages with every knob in reach, written by the tests' own DER.

`rr` gives a correct rr by default; an argument makes one thing different.
"""

from __future__ import annotations

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

from cmp import world
from der import algorithm, bits, integer, octets, oid, seq, tlv

_SHA256_RSA = algorithm("1.2.840.113549.1.1.11")
_HMAC_SHA256 = algorithm("1.2.840.113549.2.9")
_32 = integer(32)

ID = b"transaction id 1"
NONCE = b"a nonce of 16 B."

PSS = "1.2.840.113549.1.1.10"
SHA256 = "2.16.840.1.101.3.4.2.1"
REASON_CODE = "2.5.29.21"
INVALIDITY_DATE = "2.5.29.24"


def label(value):
    """Return the id of a parameter: bytes differ between xdist's workers."""
    return value if isinstance(value, str) else "case"


def tagged(number, *contents):
    return tlv(0xA0 | number, *contents)


def directory_name(name):
    return tagged(4, name)


def template(certificate=None, *, serial=..., issuer=..., more=b""):
    """Return a CertTemplate; None leaves a field out."""
    certificate = certificate or world.device().certificate
    serial = certificate.serial if serial is ... else serial
    issuer = certificate.issuer if issuer is ... else issuer
    return seq(
        b"" if serial is None else b"\x81" + integer(serial)[1:],
        b"" if issuer is None else tagged(3, issuer),
        more,
    )


def extension(dotted, value, *, critical=None):
    flag = b"" if critical is None else tlv(1, b"\xff" if critical else b"\x00")
    return seq(oid(dotted), flag, octets(value))


def reason(code):
    return extension(REASON_CODE, tlv(0x0A, bytes([code])))


def details(certificate=None, *extensions, **knobs):
    return seq(template(certificate, **knobs), seq(*extensions) if extensions else b"")


def header(
    *,
    pvno=2,
    sender=None,
    recipient=None,
    time=b"20261122120000Z",
    protection_alg=_SHA256_RSA,
    kid=...,
    transaction_id=ID,
    nonce=NONCE,
    recipient_nonce=None,
    more=b"",
):
    """Return a PKIHeader; None leaves a field out."""
    device = world.device().certificate
    kid = device.subject_key_identifier if kid is ... else kid
    fields = [(2, kid), (4, transaction_id), (5, nonce), (6, recipient_nonce)]
    return seq(
        integer(pvno),
        directory_name(device.subject) if sender is None else sender,
        directory_name(device.issuer) if recipient is None else recipient,
        b"" if time is None else tagged(0, tlv(0x18, time)),
        b"" if protection_alg is None else tagged(1, protection_alg),
        *(tagged(number, octets(value)) for number, value in fields if value is not None),
        more,
    )


def signature(key, covered):
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(covered, padding.PKCS1v15(), hashes.SHA256())
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return key.sign(covered, ec.ECDSA(hashes.SHA256()))
    assert isinstance(key, ed25519.Ed25519PrivateKey)
    return key.sign(covered)


def message(header_, body, protection, certificates=()):
    """Return a PKIMessage; `protection` makes it of what is covered, None leaves it out."""
    value = None if protection is None else protection(seq(header_, body))
    return seq(
        header_,
        body,
        b"" if value is None else tagged(0, bits(value)),
        tagged(1, seq(*certificates)) if certificates else b"",
    )


def rr(*, body=None, signer=None, certificates=..., protection=..., **fields):
    """Return an rr; `fields` are those of `header`."""
    signer = signer or world.device()
    if isinstance(signer.key, ec.EllipticCurvePrivateKey):
        fields = {"protection_alg": algorithm("1.2.840.10045.4.3.2", b"")} | fields
    if protection is ...:

        def protection(covered):
            return signature(signer.key, covered)

    return message(
        header(**fields),
        tagged(11, seq(details(None, reason(1)))) if body is None else body,
        protection,
        [signer.der] if certificates is ... else certificates,
    )


def pss(parameters, **how):
    """Return an rr whose RSASSA-PSS is made as `how` and described by `parameters`."""

    def protection(covered):
        hash_ = how.get("hash", hashes.SHA256())
        scheme = padding.PSS(padding.MGF1(how.get("mgf", hash_)), how.get("salt", 32))
        return world.device().key.sign(covered, scheme, hash_)

    return rr(protection=protection, protection_alg=algorithm(PSS, parameters))


def pss_parameters(hash_=SHA256, mgf=SHA256, salt=32, trailer=b""):
    inner = algorithm(mgf)
    return seq(
        tagged(0, algorithm(hash_)),
        tagged(1, algorithm("1.2.840.113549.1.1.8", inner)),
        tagged(2, integer(salt)),
        trailer,
    )


def mac(parameters, *, dotted, value=b"\x00" * 20, **fields):
    """Return an rr that says it is protected by a MAC, and is not."""
    return rr(
        protection_alg=algorithm(dotted, parameters),
        protection=lambda covered: value,
        certificates=(),
        kid=world.REFERENCE,
        **fields,
    )


def pbm_parameters(salt=b"s" * 16, owf=SHA256, count=500, hmac="1.3.6.1.5.5.8.1.2"):
    return seq(octets(salt), algorithm(owf, b""), integer(count), algorithm(hmac, b""))


def pbmac1_parameters(
    salt=b"s" * 16,
    count=1000,
    size=_32,
    prf=_HMAC_SHA256,
    hmac="1.2.840.113549.2.9",
    function="1.2.840.113549.1.5.12",
):
    derivation = seq(octets(salt), integer(count), size, prf)
    return seq(algorithm(function, derivation), algorithm(hmac))


PBM = "1.2.840.113533.7.66.13"
PBMAC1 = "1.2.840.113549.1.5.14"


def full_parts():
    """Return header and body of a correct rr with everything in it."""
    device = world.device().certificate
    more = tagged(5, device.subject) + b"\xa6" + device.spki[1:]
    date = extension(INVALIDITY_DATE, tlv(0x18, b"20260101000000Z"), critical=False)
    information = tagged(8, seq(seq(oid("1.2.3"), octets(b"x"))))
    body = tagged(11, seq(details(device, reason(1), date, more=more)))
    return header(more=information), body
