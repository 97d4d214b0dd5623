"""The first request of a directory while it waits, as `request.pem.new` keeps it.

With the key that waits beside it, it can be asked for again by a program that knows no more than
the directory. Asking again takes no challenge (RFC 8894 section 3.3.3). But an answer to a key that
cannot decrypt is encrypted under the challenge (section 3.1): only then that is kept, as long as
the request waits, and as well as the key.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from scepkit.client import clock, keys
from scepkit.client.prepared_request import PreparedRequest
from scepkit.errors import BadRequest, Hint, Malformed, SettingsError
from scepkit.keys.files import plain_file, write_file
from scepkit.protocol import csr
from scepkit.protocol.algorithms import PrivateKey
from scepkit.protocol.asn1 import textual
from scepkit.protocol.certificate import Certificate, pem
from scepkit.protocol.csr import CertificationRequest
from scepkit.protocol.scep.attributes import TransactionID
from scepkit.protocol.scep.messages import PKCSReq

_MODE = 0o600
_MAX_SIZE = 256 * 1024


@dataclass(frozen=True, slots=True)
class WaitingRequest:
    """The first request of a directory, and the CA that it was sent to.

    Attributes:
        request: the request; its challenge is kept only where the answer needs it.
        anchor: the trusted CA certificate.
    """

    request: CertificationRequest
    anchor: Certificate

    @classmethod
    def of(cls, prepared: PreparedRequest, anchor: Certificate) -> Self | None:
        """Return the part of a request that is kept; None for a renewal: its certificate tells.

        Args:
            prepared: the request.
            anchor: the trusted CA certificate.
        """
        if not isinstance(prepared.request, PKCSReq):
            return None
        asked = prepared.request.csr
        if keys.can_decrypt(prepared.signer.key):
            asked = csr.read_archived(asked.archive)
        return cls(asked, anchor)

    def prepared(self, key: PrivateKey, transaction_id: TransactionID) -> PreparedRequest:
        """Return the request, ready to be asked for again.

        Args:
            key: the key to be certified.
            transaction_id: of the request.

        Raises:
            Malformed: the subject cannot be written into a certificate.
        """
        signer = keys.self_signed(key, self.request.subject.x509(), clock.now())
        return PreparedRequest(PKCSReq(self.request), signer, transaction_id)

    def write(self, path: Path) -> None:
        """Write it, mode 0600, atomically and durably.

        Raises:
            SettingsError: the file system refuses.
        """
        text = pem(self.request.der, "CERTIFICATE REQUEST") + pem(self.anchor.der)
        write_file(path, text.encode("ascii"), mode=_MODE)


def read(path: Path) -> WaitingRequest | None:
    """Read the request that waits; None when there is none.

    Raises:
        SettingsError: it cannot be used.
    """
    try:
        with plain_file(path) as file:
            text = file.read(_MAX_SIZE)
        (anchor,) = textual.pem(text, 1)
        return WaitingRequest(csr.read_archived(textual.request(text)), Certificate.read(anchor))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SettingsError(f"cannot read {path}: {error.strerror}") from error
    except (Malformed, BadRequest, ValueError) as error:
        raise SettingsError(f"{path} is damaged", hint=Hint.DAMAGED_REQUEST) from error
