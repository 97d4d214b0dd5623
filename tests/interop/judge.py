"""openssl as the judge of what we and others write: a reader that is not ours."""

from __future__ import annotations

import hashlib
import re
import ssl
import subprocess

from interop.programs import environment
from waiting import PATIENCE

# An attribute in what asn1parse prints: its OID, and in a SET its value, a primitive.
_ATTRIBUTE = re.compile(
    r"prim: +OBJECT +:(\S+)\n"
    r".* cons: +SET +\n"
    r".* prim: +([A-Z0-9 ]+?) *(?:\[HEX DUMP\])?:(.*)"
)

# Algorithms that OpenSSL 3 keeps apart.
_LEGACY = ("-provider", "legacy", "-provider", "default")


def fingerprint(certificate):
    """Return the SHA-256 fingerprint of the only certificate in a PEM file, in lower case."""
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(certificate.read_text())).hexdigest()


class OpenSSL:
    """Runs openssl; whatever it does not accept fails the test.

    Args:
        program: its path.
        directory: its home.
    """

    def __init__(self, program, directory):
        self._program = program
        self._directory = directory

    def __call__(self, *arguments, stdin=b""):
        """Return stdout."""
        return self.run(*arguments, stdin=stdin)[0]

    def run(self, *arguments, stdin=b""):
        """Return stdout and stderr."""
        done = subprocess.run(
            [self._program, *map(str, arguments)],
            input=stdin,
            capture_output=True,
            env=environment(self._directory),
            check=False,
            timeout=PATIENCE,
        )
        assert done.returncode == 0, done.stderr.decode(errors="replace")
        return done.stdout, done.stderr.decode(errors="replace")

    # certificates

    def check_chain(self, certificate, ca, *between):
        """Verify a device's certificate as strictly as there is a way to, for its purpose.

        Args:
            certificate: the file it is in.
            ca: the file of the only certificate that is trusted.
            between: files of certificates that may be used to get there.
        """
        strictly = ("-x509_strict", "-check_ss_sig", "-no-CApath", "-no-CAstore")
        chain = [part for file in between for part in ("-untrusted", file)]
        self("verify", *strictly, "-purpose", "sslclient", "-CAfile", ca, *chain, certificate)

    def facts(self, certificate, *which):
        """Return what `openssl x509` prints, such as `-serial` or `-subject`."""
        options = ["-noout", "-nameopt", "RFC2253", *which]
        return self("x509", "-in", certificate, *options).decode()

    def serial(self, certificate):
        return self.facts(certificate, "-serial").strip().removeprefix("serial=").lower()

    def public_key(self, certificate):
        """Return the public key of a certificate's file, as PEM."""
        return self("x509", "-in", certificate, "-noout", "-pubkey")

    def fingerprints(self, pem):
        """Return the SHA-256 fingerprints of the certificates in PEM text, in order."""
        end = "-----END CERTIFICATE-----\n"
        blocks = [block + end for block in pem.split(end) if "BEGIN CERTIFICATE" in block]
        option = ("x509", "-noout", "-fingerprint", "-sha256")
        found = [self(*option, stdin=block.encode()).decode() for block in blocks]
        return [line.strip().partition("=")[2].replace(":", "").lower() for line in found]

    # messages

    def asn1(self, der):
        """Return what `asn1parse` sees."""
        return self("asn1parse", "-inform", "DER", stdin=der).decode(errors="replace")

    def attributes(self, der):
        """Return the attributes of a message by OID, their only values as `TYPE value`."""
        found = {}
        for oid, kind, value in _ATTRIBUTE.findall(self.asn1(der)):
            assert oid not in found
            found[oid] = f"{kind} {value}"
        return found

    def cms(self, der):
        """Return how openssl reads a CMS message."""
        options = ("-cmsout", "-print", "-noout", "-inform", "DER")
        return self("cms", *options, stdin=der).decode(errors="replace")

    def signed(self, der, *, signer=None):
        """Verify a SignedData and return its content.

        Args:
            der: the message.
            signer: the certificate that must have signed it; whichever is inside when None.
        """
        options = ["-noverify"]
        if signer is not None:
            options += ["-nointern", "-certfile", signer]
        return self("cms", "-verify", "-binary", "-inform", "DER", *options, stdin=der)

    def trusted(self, der, ca):
        """Verify a SignedData and its signer's chain."""
        options = ("-CAfile", ca, "-no-CApath", "-no-CAstore", "-purpose", "any", "-x509_strict")
        self("cms", "-verify", "-binary", "-inform", "DER", *options, stdin=der)

    def enveloped(self, der, key, recipient=None):
        """Open an EnvelopedData and return its content."""
        options = ["-recip", recipient] if recipient else []
        return self(
            *("cms", "-decrypt", "-binary", "-inform", "DER", *_LEGACY, "-inkey", key, *options),
            stdin=der,
        )

    def enveloped_by_password(self, der, password):
        """Open an EnvelopedData whose recipient is who knows a password."""
        return self(
            *("cms", "-decrypt", "-binary", "-inform", "DER", "-pwri_password", password), stdin=der
        )

    def certificates(self, der):
        """Return the certificates of a certs-only message, as PEM text."""
        return self("pkcs7", "-inform", "DER", "-print_certs", stdin=der).decode()

    def request(self, der):
        """Verify a PKCS#10 and return how openssl reads it."""
        out, err = self.run("req", "-inform", "DER", "-verify", "-noout", "-text", stdin=der)
        # OpenSSL 3.0 says so on stderr, others on stdout.
        assert "verify OK" in out.decode() + err
        return out.decode()
