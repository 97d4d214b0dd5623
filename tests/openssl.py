"""The openssl command as the judge of what we write: a reader that is not ours."""

from __future__ import annotations

import subprocess
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

import keys
from waiting import PATIENCE

_IN = ["-inform", "DER", "-binary"]
_OUT = ["-outform", "DER", "-binary"]
# For single DES; naming one provider turns the default one off.
_LEGACY = ["-provider", "legacy", "-provider", "default"]


class OpenSSL:
    """Runs openssl in a directory of its own.

    Args:
        directory: for its input files.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def run(self, *arguments: str | Path, stdin: bytes = b"") -> bytes:
        done = subprocess.run(
            ["openssl", *arguments], input=stdin, capture_output=True, check=False, timeout=PATIENCE
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

    def sign(self, content: bytes, signer: keys.Holder, digest: str, *more: str) -> bytes:
        """Return a SignedData over `content`; `more` options follow its own."""
        options = ["-md", digest, "-inkey", self._key(signer), "-signer", self._pem(signer), *more]
        return self.run("cms", "-sign", *_OUT, "-nodetach", *options, *_LEGACY, stdin=content)

    def encrypt(self, content: bytes, cipher: str, recipient: keys.Holder, *more: str) -> bytes:
        """Return an EnvelopedData for a certificate; `more` options follow its own."""
        options = [f"-{cipher}", *_LEGACY, "-recip", self._pem(recipient), *more]
        return self.run("cms", "-encrypt", *_OUT, *options, stdin=content)

    def encrypt_with_password(self, content: bytes, cipher: str, password: str) -> bytes:
        """Return an EnvelopedData for whoever knows the password."""
        options = [f"-{cipher}", *_LEGACY, "-pwri_password", password]
        return self.run("cms", "-encrypt", *_OUT, *options, stdin=content)

    def decrypt(self, message: bytes, recipient: keys.Holder) -> bytes:
        """Open an EnvelopedData."""
        options = ["-inkey", self._key(recipient), "-recip", self._pem(recipient), *_LEGACY]
        return self.run("cms", "-decrypt", *_IN, *options, stdin=message)

    def decrypt_with_password(self, message: bytes, password: str) -> bytes:
        """Open an EnvelopedData with a password."""
        options = ["-pwri_password", password, *_LEGACY]
        return self.run("cms", "-decrypt", *_IN, *options, stdin=message)

    def verify_octets(self, data: bytes, signature: bytes, signer: keys.Holder) -> bytes:
        """Verify an Ed25519 signature, which the cms command of OpenSSL 3.0 cannot."""
        signed, made = self.directory / "signed", self.directory / "signature"
        signed.write_bytes(data)
        made.write_bytes(signature)
        options = ["-certin", "-inkey", self._pem(signer), "-sigfile", made, "-in", signed]
        return self.run("pkeyutl", "-verify", "-rawin", *options)

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

    def _key(self, holder: keys.Holder) -> Path:
        path = self.directory / "key.pem"
        path.write_bytes(
            holder.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        )
        return path

    def _pem(self, holder: keys.Holder) -> Path:
        path = self.directory / "certificate.pem"
        path.write_bytes(holder.x509.public_bytes(Encoding.PEM))
        return path
