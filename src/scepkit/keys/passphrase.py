"""Secrets at rest under a passphrase: PKCS#8's EncryptedPrivateKeyInfo (RFC 5958 section 3).

The library writes it with 2048 rounds of PBKDF2, which a graphics card guesses through in hours.
So it is written here: PBES2 (RFC 8018 section 6.2) with PBKDF2, HMAC with SHA-256 and AES-256-CBC.
openssl reads that.
"""

from __future__ import annotations

import os
from threading import Lock

from cryptography.hazmat.primitives.ciphers import Cipher, modes
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.padding import PKCS7
from cryptography.x509 import ObjectIdentifier

from scepkit.errors import Malformed, SettingsError
from scepkit.protocol.algorithms import AES256, PBKDF2, SHA256
from scepkit.protocol.asn1 import der
from scepkit.protocol.asn1.grammar import CONTENT, END, ENTER, Grammar
from scepkit.protocol.cms.pbkdf2 import Derivation

ROUNDS = 600_000
"""Of PBKDF2, for what is written: a third of a second."""

_PBES2 = der.oid(ObjectIdentifier("1.2.840.113549.1.5.13"))
_PBKDF2 = der.oid(PBKDF2)
_AES256_CBC = der.oid(AES256.oid)
_HMAC_SHA256 = der.algorithm(ObjectIdentifier("1.2.840.113549.2.9"))
_SALT_OCTETS = 16
_BLOCK = 16
# Half a minute of work: what a damaged file may ask for.
_MOST_ROUNDS = 50_000_000
# EncryptedPrivateKeyInfo ::= SEQUENCE { encryptionAlgorithm, encryptedData OCTET STRING }, and
# within the algorithm PBES2-params with a PBKDF2-params of the one form that is written here.
_DERIVATION = (
    *(der.SEQUENCE | ENTER, der.OID, der.SEQUENCE | ENTER),
    *(der.OCTET_STRING | CONTENT, der.INTEGER | CONTENT, der.SEQUENCE),
    *(END, END),
)
_CIPHER = (der.SEQUENCE | ENTER, der.OID, der.OCTET_STRING | CONTENT, END)
_ENCRYPTED = Grammar(
    "EncryptedPrivateKeyInfo",
    *(der.SEQUENCE | ENTER, der.SEQUENCE | ENTER, der.OID, der.SEQUENCE | ENTER),
    *(*_DERIVATION, *_CIPHER, END, END),
    *(der.OCTET_STRING | CONTENT, END),
)


class OtherEncryptionError(Exception):
    """Something is encrypted in another way than it is written here."""


class WrongPassphrase(SettingsError):
    """A secret does not open with this passphrase, or is damaged."""


class Passphrase:
    """A passphrase that secrets are encrypted under. Threads may share it.

    All that it encrypts has one salt, that of the first secret which it opened. So a process
    derives the key once, and not once for each file.

    Args:
        text: the passphrase.
        rounds: of PBKDF2, for what is encrypted.

    Raises:
        SettingsError: it is empty, or holds what is no character.
    """

    def __init__(self, text: str, *, rounds: int = ROUNDS) -> None:
        if not text:
            raise SettingsError("the passphrase is empty", hint="choose a long one")
        try:
            text.encode("utf-8")
        except UnicodeEncodeError:
            # Not `from`: the exception holds the passphrase.
            raise SettingsError(
                "the passphrase is not text in UTF-8", hint="look at the terminal's locale"
            ) from None
        self.text = text
        self._rounds = rounds
        self._lock = Lock()
        self._keys: dict[tuple[bytes, int], bytes] = {}
        self._writing: Derivation | None = None

    def __repr__(self) -> str:
        """Leave the secret out."""
        return "<Passphrase>"

    def encrypt(self, secret: bytes) -> bytes:
        """Return a secret as EncryptedPrivateKeyInfo, DER.

        Args:
            secret: a PrivateKeyInfo, DER, or other octets.
        """
        with self._lock:
            derivation = self._writing
            if derivation is None:
                derivation = Derivation(os.urandom(_SALT_OCTETS), self._rounds, SHA256)
                self._writing = derivation
        iv = os.urandom(_BLOCK)
        padder = PKCS7(8 * _BLOCK).padder()
        encryptor = Cipher(AES(self._key(derivation)), modes.CBC(iv)).encryptor()
        encrypted = encryptor.update(padder.update(secret) + padder.finalize())
        parameters = der.sequence(
            der.sequence(_PBKDF2, derivation.parameters()),
            der.sequence(_AES256_CBC, der.octet_string(iv)),
        )
        return der.sequence(
            der.sequence(_PBES2, parameters),
            der.octet_string(encrypted + encryptor.finalize()),
        )

    def decrypt(self, encrypted: bytes) -> bytes:
        """Return the secret of an EncryptedPrivateKeyInfo; garbage, once in 256 wrong passphrases.

        Args:
            encrypted: what `encrypt` returned.

        Raises:
            OtherEncryptionError: it was encrypted in another way.
            WrongPassphrase: this is not its passphrase, or it is damaged.
        """
        try:
            derivation, iv, content = _parts(encrypted)
        except Malformed as error:
            raise OtherEncryptionError from error
        decryptor = Cipher(AES(self._key(derivation)), modes.CBC(iv)).decryptor()
        unpadder = PKCS7(8 * _BLOCK).unpadder()
        try:
            padded = decryptor.update(content) + decryptor.finalize()
            secret = unpadder.update(padded) + unpadder.finalize()
        except ValueError:
            # Not `from`: it says nothing more.
            raise WrongPassphrase("the passphrase is wrong") from None
        with self._lock:
            if self._writing is None and derivation.iterations >= self._rounds:
                self._writing = derivation
        return secret

    def _key(self, derivation: Derivation) -> bytes:
        """Return the key of a derivation, which is worked out once."""
        of = derivation.salt, derivation.iterations
        with self._lock:
            if of not in self._keys:
                self._keys[of] = derivation.derive(self.text, AES256.key_size)
            return self._keys[of]


def is_ours(encrypted: bytes) -> bool:
    """Say whether an EncryptedPrivateKeyInfo, DER, is of the form that `Passphrase` writes."""
    try:
        _parts(encrypted)
    except Malformed:
        return False
    return True


def _parts(encrypted: bytes) -> tuple[Derivation, bytes, bytes]:
    """Return how the key is derived, the initialization vector, and what is encrypted.

    Raises:
        Malformed: it is of another form.
    """
    scheme, kdf, salt, count, prf, cipher, iv, content = _ENCRYPTED.fields(encrypted)
    rounds = int.from_bytes(count, "big", signed=True)
    named = (scheme, kdf, prf, cipher) == (_PBES2, _PBKDF2, _HMAC_SHA256, _AES256_CBC)
    if not named or len(iv) != _BLOCK or not 0 < rounds <= _MOST_ROUNDS:
        raise Malformed("another EncryptedPrivateKeyInfo than is written here")
    return Derivation(salt, rounds, SHA256), iv, content
