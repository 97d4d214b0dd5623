"""The openssl command as the judge of what we write: a reader that is not ours."""

from __future__ import annotations

import subprocess
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

import keys


class OpenSSL:
    """Runs openssl in a directory of its own.

    Args:
        directory: for its input files.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def run(self, *arguments: str | Path, stdin: bytes = b"") -> bytes:
        done = subprocess.run(
            ["openssl", *arguments], input=stdin, capture_output=True, check=False, timeout=60
        )
        assert done.returncode == 0, done.stderr.decode(errors="replace")
        return done.stdout

    def verify(self, message: bytes, signer: keys.Holder | None = None) -> bytes:
        """Verify a SignedData and return its content; with `signer`, by that certificate only.

        Chains are the business of other tests.
        """
        options: list[str | Path] = ["-noverify"]
        if signer is not None:
            options += ["-nointern", "-certfile", self._pem(signer)]
        return self.run("cms", "-verify", "-inform", "DER", "-binary", *options, stdin=message)

    def decrypt(self, message: bytes, recipient: keys.Holder) -> bytes:
        """Open an EnvelopedData."""
        key = self.directory / "key.pem"
        key.write_bytes(
            recipient.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        )
        options = ["-inform", "DER", "-binary", "-inkey", key, "-recip", self._pem(recipient)]
        return self.run("cms", "-decrypt", *options, stdin=message)

    def asn1(self, der: bytes) -> str:
        """Return what `asn1parse` sees; it fails on what is no DER."""
        return self.run("asn1parse", "-inform", "DER", stdin=der).decode()

    def cms(self, message: bytes) -> str:
        """Return how openssl reads a CMS message."""
        return self.run(
            "cms", "-cmsout", "-print", "-noout", "-inform", "DER", stdin=message
        ).decode(errors="replace")

    def request(self, csr: bytes) -> str:
        """Verify a PKCS#10 and return how openssl reads it."""
        return self.run("req", "-inform", "DER", "-verify", "-noout", "-text", stdin=csr).decode()

    def _pem(self, holder: keys.Holder) -> Path:
        path = self.directory / "certificate.pem"
        path.write_bytes(holder.x509.public_bytes(Encoding.PEM))
        return path
