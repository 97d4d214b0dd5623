"""The records in a device's directory, JSON without secrets.

`enrolment.json` has the facts that a renewal needs beside keys and certificates, `revocation.json`
that the certificate was revoked, as its CA said.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from scepkit.client.folder import outputs, place
from scepkit.client.folder.outputs import Outputs
from scepkit.client.renewal_info import RenewalAdvice
from scepkit.client.secret_source import Secrets, SecretSource
from scepkit.client.tls import ClientCertificate
from scepkit.client.trust import normalize_url
from scepkit.errors import Hint, SettingsError
from scepkit.keys.files import plain_file, write_file
from scepkit.protocol.algorithms import Legacy
from scepkit.protocol.certificate import read_serial, show_serial
from scepkit.protocol.crl import Reason
from scepkit.protocol.scep.capabilities import Capabilities

_MODE = 0o644
_MAX_SIZE = 64 * 1024


@dataclass(frozen=True, slots=True)
class ServerChanges:
    """Changes to the record of a server and its CA.

    Attributes:
        url: the SCEP server's; "" for the recorded one.
        ca_id: the name of the CA; None for the recorded one, as for the others.
        legacy: the legacy algorithms to allow.
        tls_ca: file of the certificates to check HTTPS with.
        client_certificate: shown by HTTPS.
    """

    url: str = ""
    ca_id: str | None = None
    legacy: frozenset[Legacy] | None = None
    tls_ca: Path | None = None
    client_certificate: ClientCertificate | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """The facts of an enrolment that a renewal needs.

    Attributes:
        url: the SCEP server's.
        ca_id: the name of the CA, for servers that have several.
        legacy: the legacy algorithms that were allowed.
        key: the kind of the key, such as `rsa:2048`.
        purposes: those that are asked for, by name or OID; none where they are the CA's choice.
        template: the certificate template that is asked for, as `certificate_template` takes it.
        same_key: whether renewals are for the same key, since somebody has brought it.
        passphrase: the source of the passphrase that the key is encrypted under, as `SecretSource`
            has it; "" where it is in clear.
        tls_ca: file of the certificates that HTTPS was checked with, by its whole path; "" for the
            system's.
        tls_cert: file of the certificate that this machine shows by HTTPS, by its whole path.
        tls_key: file of that one's key, by its whole path; "" where both are in one.
        tls_passphrase: the source of that key's passphrase.
        capabilities: the most that the CA has ever said it can do, in lower case.
        transaction_id: of the request for the certificate.
        requested_at: when that was sent first, ISO 8601.
        wanted: what that asks for, as `PreparedRequest.wanted` says it; "" when it is not known.
        checked_at: when the CA was last asked for its successor, ISO 8601; "" for never.
        advised_at: when the server wants the certificate to be renewed; "" where it is not known.
        advise_again_at: when it is to be asked for that again.
        explanation: URL of a page that says why it wants that.
        outputs: the further files, and whose all of them are.
    """

    url: str
    ca_id: str = ""
    legacy: tuple[str, ...] = ()
    key: str = ""
    purposes: tuple[str, ...] = ()
    template: str = ""
    same_key: bool = False
    passphrase: str = ""
    tls_ca: str = ""
    tls_cert: str = ""
    tls_key: str = ""
    tls_passphrase: str = ""
    capabilities: tuple[str, ...] = ()
    transaction_id: str = ""
    requested_at: str = ""
    wanted: str = ""
    checked_at: str = ""
    advised_at: str = ""
    advise_again_at: str = ""
    explanation: str = ""
    outputs: Outputs = field(default_factory=Outputs)

    @property
    def allowed(self) -> frozenset[Legacy]:
        """Return the legacy algorithms that were allowed.

        Raises:
            SettingsError: one has no such name.
        """
        try:
            return frozenset(map(Legacy, self.legacy))
        except ValueError as error:
            raise SettingsError(f"the record of the enrolment is damaged: {error}") from error

    @property
    def reaches_out(self) -> bool:
        """Say whether to obey it may run a command, open a secret, or write a file elsewhere."""
        sources = (self.passphrase, self.tls_passphrase, self.outputs.pkcs12_password)
        return any(sources) or bool(self.tls_cert or self.outputs.paths)

    def changed(self, by: ServerChanges) -> Record:
        """Return this record with changes to its server.

        Raises:
            UsageError: the URL is none.
        """
        # Versions before this one kept the URL as it was typed.
        kept = replace(self, url=normalize_url(self.url))
        found = replace(
            kept,
            url=normalize_url(by.url) if by.url else kept.url,
            ca_id=kept.ca_id if by.ca_id is None else by.ca_id,
            legacy=kept.legacy if by.legacy is None else tuple(sorted(by.legacy)),
            tls_ca=str(by.tls_ca.absolute()) if by.tls_ca else kept.tls_ca,
        )
        if by.client_certificate is not None:
            found = found.showing(by.client_certificate)
        if found.legacy != kept.legacy:
            # What could not be read of a successor with those, may be with these.
            found = replace(found, checked_at="")
        if (found.url, found.ca_id) == (kept.url, kept.ca_id):
            return found
        # What was seen of another CA says nothing of this one, which was not asked for a successor.
        return replace(found, capabilities=(), checked_at="").advised(None, None)

    @property
    def advise_again(self) -> datetime | None:
        """Return when the server is to be asked for advice again; None for at once."""
        return datetime.fromisoformat(self.advise_again_at) if self.advise_again_at else None

    @property
    def advice(self) -> RenewalAdvice | None:
        """Return the server's last advice on the certificate's renewal; None for none."""
        if not self.advised_at or self.advise_again is None:
            return None
        at = datetime.fromisoformat(self.advised_at)
        return RenewalAdvice(at, self.advise_again, self.explanation)

    def advised(self, advice: RenewalAdvice | None, again: datetime | None) -> Record:
        """Return this record with the server's advice, and when to ask for it again."""
        return replace(
            self,
            advised_at=advice.at.isoformat(timespec="seconds") if advice else "",
            advise_again_at=again.isoformat(timespec="seconds") if again else "",
            explanation=advice.explanation if advice else "",
        )

    def showing(self, shown: ClientCertificate | None) -> Record:
        """Return this record with the files of the certificate that is shown by HTTPS."""
        if shown is None:
            return self
        return replace(
            self,
            tls_cert=str(shown.certificate.absolute()),
            tls_key=str(shown.key.absolute()) if shown.key else "",
            tls_passphrase=str(shown.passphrase or ""),
        )

    def client_certificate(self, secrets: Secrets) -> ClientCertificate | None:
        """Return the certificate that is shown by HTTPS; None for none.

        Args:
            secrets: reads the passphrase of its key.

        Raises:
            UsageError: the source of that is none.
        """
        if not self.tls_cert:
            return None
        source = SecretSource.parse(self.tls_passphrase) if self.tls_passphrase else None
        key = Path(self.tls_key) if self.tls_key else None
        return ClientCertificate(Path(self.tls_cert), key, source, secrets)

    def seen(self, url: str, ca_id: str) -> Capabilities:
        """Return all capabilities that this CA has ever listed; none for another CA."""
        same = (url, ca_id) == (self.url, self.ca_id)
        return frozenset(self.capabilities) if same else frozenset()

    def asks_like(self, other: Record) -> bool:
        """Say whether this and another request ask the same CA for the same thing."""
        place, elsewhere = (self.url, self.ca_id), (other.url, other.ca_id)
        return place == elsewhere and self.wanted == other.wanted != ""

    def requested(self, transaction_id: str, now: datetime, before: Record | None) -> Record:
        """Return this record for a new request.

        Args:
            transaction_id: the request's.
            now: an aware datetime.
            before: of the request that is under way; None when there is none.
        """
        again = before is not None and before.transaction_id == transaction_id
        at = before.requested_at if before and again else now.isoformat(timespec="seconds")
        return replace(self, transaction_id=transaction_id, requested_at=at)


def read(path: Path) -> Record | None:
    """Read a record; None when there is none.

    What a later version has added is left out. A record that reaches out of its directory is used
    where nobody else can write it alone. That is looked at each time: whoever can write it, can
    exchange it between a look and its use.

    Raises:
        SettingsError: it cannot be used.
    """
    try:
        with plain_file(path) as file:
            found, status = json.loads(file.read(_MAX_SIZE)), os.fstat(file.fileno())
        known = [one.name for one in fields(Record) if one.name in found]
        made = Record(**{name: _value(found[name], name) for name in known})
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SettingsError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, TypeError, RecursionError) as error:
        raise SettingsError(f"{path} is damaged", hint=Hint.DAMAGED_RECORD) from error
    if made.reaches_out:
        place.check_owner(path, status)
        place.check_above(path)
    return made


def write(path: Path, record: Record) -> None:
    """Write a record atomically and durably. It stays this user's, whoever the other files are for.

    Raises:
        SettingsError: the file system refuses.
    """
    text = json.dumps(asdict(record), indent=2) + "\n"
    write_file(path, text.encode("utf-8"), mode=_MODE)


def _value(value: Any, name: str) -> Any:
    if name == "outputs":
        return outputs.read(value)
    if name == "same_key":
        if not isinstance(value, bool):
            raise TypeError(name)
        return value
    if name not in ("legacy", "capabilities", "purposes"):
        if not isinstance(value, str) or (name.endswith("_at") and not _is_time(value)):
            raise TypeError(name)
        return value
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise TypeError(name)
    return tuple(value)


def _is_time(text: str) -> bool:
    return not text or datetime.fromisoformat(text).tzinfo is not None


_NOTE_MODE = 0o644
_NOTE_SIZE = 4096


@dataclass(frozen=True, slots=True)
class RevocationNote:
    """The known facts of a revocation.

    Attributes:
        serial: the serial number of the certificate, in hex: another certificate is not meant.
        at: since when, as a responder says, or when the CA said so to this machine, ISO 8601.
        reason: why, as RFC 5280 names it; "" when that is not known.
    """

    serial: str
    at: str
    reason: str = ""

    @property
    def forbids_renewal(self) -> bool:
        """Say whether a renewal is pointless; a note without a reason may be a hold that ended."""
        return self.is_final and bool(self.reason)

    @property
    def is_final(self) -> bool:
        """Say whether the revocation stays; a hold may have ended, which only the CA knows."""
        return self.reason != Reason.certificateHold.name


def read_note(path: Path) -> RevocationNote | None:
    """Read a note; None when there is none.

    Raises:
        SettingsError: it cannot be used.
    """
    try:
        with plain_file(path) as file:
            found = json.loads(file.read(_NOTE_SIZE))
        note = RevocationNote(*(str(found[name]) for name in ("serial", "at", "reason")))
        _check_time(note.at)
        # Versions before this one kept an odd number of digits.
        number = show_serial(read_serial(note.serial))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SettingsError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise SettingsError(f"{path} is damaged", hint="remove it") from error
    return replace(note, serial=number)


def write_note(path: Path, note: RevocationNote) -> None:
    """Write a note atomically and durably.

    Raises:
        SettingsError: the file system refuses.
    """
    write_file(path, (json.dumps(asdict(note), indent=2) + "\n").encode("utf-8"), mode=_NOTE_MODE)


def _check_time(text: str) -> None:
    if datetime.fromisoformat(text).tzinfo is None:
        raise ValueError("a time without a zone")
