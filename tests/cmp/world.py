"""A CA with an RA, devices with certificates of it, and a server's policy in short."""

from __future__ import annotations

import os
from functools import cache

from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

import httpd
import keys
from scepkit.protocol import cmp
from scepkit.protocol.algorithms import NO_LEGACY
from scepkit.protocol.scep import ca_certificates

SECRET = "a secret for dev-1"
REFERENCE = b"dev-1"


@cache
def ca(which="ca"):
    usage = keys.usage("digital_signature", "key_cert_sign", "crl_sign")
    name = "Test CA" if which == "ca" else f"Test {which}"
    key = keys.rsa_key("cmp ca") if which == "ca" else keys.ec_key(f"cmp {which}")
    return httpd.certify(name, key, ca=True, key_usage=usage, key_identifier=True)


@cache
def ra(which="ra", by="ca"):
    usage = keys.usage("digital_signature")
    key = keys.rsa_key("cmp ra") if which == "ra" else keys.ec_key(f"cmp {which}")
    return httpd.certify(f"Test {which}", key, ca(by), key_usage=usage, key_identifier=True)


@cache
def lower_ca():
    """Return a CA under the CA."""
    usage = keys.usage("key_cert_sign")
    key = keys.ec_key("cmp lower ca")
    return httpd.certify("Lower CA", key, ca(), ca=True, key_usage=usage, key_identifier=True)


@cache
def lower_ra():
    """Return the RA of the CA under the CA."""
    usage = keys.usage("digital_signature")
    key = keys.ec_key("cmp lower ra")
    return httpd.certify("Lower RA", key, lower_ca(), key_usage=usage, key_identifier=True)


@cache
def device(kind="rsa", *, identifier=True, by="ca", name="device"):
    """Return a device with a certificate that says, as ours do, that it is a client's."""
    return httpd.certify(
        f"{name}-{kind}",
        keys.key_of(kind, f"cmp {name}"),
        ca(by),
        key_usage=keys.usage("digital_signature"),
        purposes=[ExtendedKeyUsageOID.CLIENT_AUTH],
        key_identifier=identifier,
    )


def trusted(which="ca", *more):
    """Return what a client trusts: the CA alone, as its folder has it, and what it was told."""
    anchor = ca(which).certificate
    return ca_certificates.trust([anchor, *more], anchor, httpd.today())


def pem(path, *holders):
    path.write_bytes(b"".join(one.x509.public_bytes(Encoding.PEM) for one in holders))
    return path


class Responder:
    """Answers like a CA's server: whoever holds a certificate's key may have it revoked.

    Args:
        signer: who signs answers.
        secrets: reference and secret of those who may revoke without a key.
        allowed: the legacy algorithms.
        chain: certificates that go along with the signer's.
    """

    def __init__(self, signer=None, secrets=None, allowed=NO_LEGACY, chain=()):
        self.signer = cmp.Signer((signer or ra()).credential, chain=chain)
        self.secrets = {REFERENCE: SECRET} if secrets is None else secrets
        self.allowed = allowed
        self.revoked = []
        self.errors = []

    def answer(self, body):
        try:
            return self._answer(body)
        except cmp.CMPError as error:
            self.errors.append(error)
            return cmp.seal_error(error, self.signer, now=httpd.today(), random=os.urandom)

    def _answer(self, body):
        request = cmp.read_request(body)
        protector = self._verify(request)
        status = self._revoke(request.revocation)
        return cmp.seal_response(request, status, protector, now=httpd.today(), random=os.urandom)

    def _verify(self, request):
        if request.is_signed:
            signer = cmp.find_signer(request)
            cmp.verify_signature(request, signer, self.allowed)
            if not request.revocation.fits(signer):
                raise cmp.NotAuthorized("not the certificate's owner", header=request.header)
            return self.signer
        secret = self.secrets.get(request.header.sender_kid)
        if secret is None:
            raise cmp.SignerNotTrusted("no such secret", header=request.header)
        cmp.verify_mac(request, secret)
        return cmp.same_secret(request, secret, ca().certificate.subject, os.urandom)

    def _revoke(self, revocation):
        if revocation.issuer != ca().certificate.subject:
            return cmp.StatusInfo.of(cmp.WrongAuthority("a certificate of another CA"))
        if revocation in self.revoked:
            return cmp.StatusInfo.of(cmp.CertRevoked("it is revoked already"))
        self.revoked.append(revocation)
        return cmp.ACCEPTED
