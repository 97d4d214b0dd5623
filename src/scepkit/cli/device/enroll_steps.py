"""The steps of `scep enroll`: the CA to trust, the request, the files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from cryptography import x509

from scepkit.cli import options
from scepkit.cli.device import request, trust, writers
from scepkit.client import keys, prepared_request
from scepkit.client.client import CA, Client
from scepkit.client.folder import Folder, place
from scepkit.client.folder.record import Record
from scepkit.protocol.general_name import parse_san
from scepkit.protocol.rfc4514 import parse_subject
from scepkit.protocol.scep.transaction import Issued


@dataclass(frozen=True, slots=True)
class Wanted:
    """The request, as the options say.

    Attributes:
        subject: the name.
        names: subject alternative names.
        purposes: for extendedKeyUsage; none leaves them to the CA.
        key: the kind of the key, such as `rsa:2048`.
        force: replace what is in the directory.
    """

    subject: x509.Name
    names: tuple[x509.GeneralName, ...]
    purposes: tuple[x509.ObjectIdentifier, ...]
    key: str
    force: bool


def read(
    subject: str, names: Iterable[str], purposes: Iterable[str], key: str, *, force: bool
) -> Wanted:
    """Read the text of the options.

    Raises:
        UsageError: one cannot be meant.
    """
    wanted = Wanted(
        parse_subject(subject),
        tuple(map(parse_san, names)),
        options.read_purposes(purposes),
        key,
        force,
    )
    keys.check_spec(key)
    return wanted


def enrol(
    client: Client,
    whom: trust.Whom,
    wanted: Wanted,
    secret: Callable[[], str | None],
    record: Record,
    folder: Folder,
) -> Issued:
    """Get a first certificate into a folder.

    Args:
        client: for the CA's server.
        whom: whom to trust.
        wanted: what to ask for.
        secret: reads the challenge, or asks for it.
        record: how the certificate is got, as far as the options say.
        folder: where it goes.
    """
    with ExitStack() as claim:
        # A new folder is claimed late: where there is nothing to ask for, nothing is made.
        place.check_makeable(folder.path)
        is_new = not folder.path.exists()
        if not is_new:
            claim.enter_context(_claimed(folder, force=wanted.force))
            writers.warn(folder.path)
        password = secret()
        ca = _trusted(client, whom, record, folder)
        if is_new:
            claim.enter_context(_claimed(folder, force=wanted.force))
        key = request.key(folder, wanted.key)
        request.warn_unless_readable(key, password)
        order = prepared_request.prepare(
            key,
            wanted.subject,
            names=wanted.names,
            purposes=wanted.purposes,
            challenge=password,
            now=datetime.now(UTC),
        )
        record = replace(record, capabilities=tuple(sorted(ca.capabilities)))
        return request.fulfil(order, key, record, folder, request.Way(client, ca))


@contextmanager
def _claimed(folder: Folder, *, force: bool) -> Iterator[None]:
    """Lock a folder, and refuse to replace what is good in it.

    Only once it is locked: until then another process may put a certificate there.
    """
    with folder.locked():
        request.recover(folder)
        if not force:
            folder.check_free(datetime.now(UTC))
        yield


def _trusted(client: Client, whom: trust.Whom, record: Record, folder: Folder) -> CA:
    """Ask the server, and trust its CA; what that could do once it can still do (P-61)."""
    information = client.ask()
    before = folder.unfinished_record() or folder.record()
    ca = client.trust(
        information,
        trust.choose(information, whom),
        before.seen(record.url, record.ca_id) if before else frozenset(),
    )
    trust.warn_of_weakness(ca)
    return ca
