"""`scep admin show`: all that is known about one certificate, request or transactionID."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated

import typer

from scepkit.cli import terminal
from scepkit.cli.admin import refusals
from scepkit.cli.admin.server_directory import (
    DEFAULT_DIRECTORY,
    DirectoryOption,
    JsonOption,
    records_opened,
)
from scepkit.cli.describe import timestamp
from scepkit.cli.help import Command, examples
from scepkit.cli.options import reason_name
from scepkit.errors import UsageError
from scepkit.protocol.certificate import show_serial

if TYPE_CHECKING:
    from scepkit.operations.renewal_chain import Link
    from scepkit.store import CertificateKey, CertificateRow, RefusalRow, RevocationRow, Store

# Serial numbers are random and long; those of requests are counted.
_REQUEST = re.compile(r"[0-9]{1,15}")


def register(app: typer.Typer) -> None:
    """Add the command of this file."""
    app.command(
        "show",
        cls=Command,
        short_help="Show one certificate or request, or what was refused.",
        epilog=examples(
            "scep admin show 1",
            "scep admin show 5a1f... --pem",
            "scep admin show 77AC68E2D6F1",
        ),
    )(show)


def show(
    number: Annotated[
        str,
        typer.Argument(
            metavar="SERIAL|REQUEST|TRANSACTIONID",
            help="A certificate's serial number in hex (0x..., where it is decimal digits alone), "
            "a request's number, or a transactionID as the log has it.",
            show_default=False,
        ),
    ],
    *,
    directory: DirectoryOption = DEFAULT_DIRECTORY,
    pem: Annotated[
        bool, typer.Option("--pem", help="Print the certificate or the PKCS#10 as PEM, alone.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Show all details of a certificate or a request, and what was refused.

    For a certificate with renewals the whole renewal chain is drawn, one line for each certificate.
    A renewal stands below the certificate that it renewed; the one in use is marked as current.

    Of a transactionID the newest request is shown, and the requests that were refused: when, how
    often, by which rule, and why. Of a certificate the refused renewals are shown, too.

    The challenge in a request is blanked out, so the signature of its PEM no longer verifies.
    """
    with records_opened(directory) as (home, store):
        found = _found(store, number, [*home.settings.endpoint])
    if pem:
        if not found.pem:
            raise UsageError(
                f"nothing is kept of {number} but why it was refused",
                hint="look at it without --pem",
            )
        terminal.data(found.pem)
    elif as_json:
        terminal.json_data(
            {
                **found.fields,
                "cut": [*found.cut],
                "history": found.history,
                "refusals": [refusals.json_fields(one) for one in found.refusals],
                "chain": [link_fields(one) for one in found.chain],
                "pem": found.pem,
            }
        )
    else:
        told = [(name, value) for name, value in found.fields.items() if value]
        told += [("left out", one) for one in found.cut]
        told += [("history", _in_words(one)) for one in found.history]
        # Where nothing else is known, the fields are those of the first one.
        others = found.refusals if found.pem else found.refusals[1:]
        told += [("refused", refusals.in_words(one)) for one in others]
        told += [("chain", line) for line in _drawn(found.chain, found.key)]
        terminal.data_fields(told)


@dataclass(frozen=True, slots=True)
class _Shown:
    """The details of a certificate or a request.

    Attributes:
        fields: by their names; empty where there is nothing to say.
        pem: the certificate or the PKCS#10.
        key: the certificate's name.
        history: what an operator did with the certificate.
        chain: the renewal chain that it is in.
        cut: what the request asked for, and the certificate has not.
        refusals: the requests that were refused, those last seen first.
    """

    fields: dict[str, str]
    pem: str
    key: CertificateKey | None = None
    history: Sequence[dict[str, str]] = ()
    chain: Sequence[Link] = ()
    cut: Sequence[str] = ()
    refusals: Sequence[RefusalRow] = ()


def _found(store: Store, named: str, endpoints: list[str]) -> _Shown:
    """Return what goes by a number or a transactionID: a transaction where nothing else does."""
    try:
        if _REQUEST.fullmatch(named):
            return _request(store, int(named))
        return _certificate(store, named)
    except UsageError:
        found = _transaction(store, named, endpoints)
        if found is None:
            raise
        return found


def _transaction(store: Store, named: str, endpoints: list[str]) -> _Shown | None:
    """Return the newest request of a transactionID with what was refused, or that alone."""
    from scepkit.protocol.scep.attributes import TransactionID
    from scepkit.store import RefusalFilter

    refused = store.refusal_page(RefusalFilter(transaction_id=named))
    octets = TransactionID.read(named).value
    found = [store.requests_of(one, octets) for one in endpoints]
    rows = sorted((row for rows in found for row in rows), key=lambda row: row.id)
    if rows:
        return replace(_request(store, rows[-1].id), refusals=refused)
    if not refused:
        return None
    fields = refusals.json_fields(refused[0])
    return _Shown({name: str(value or "") for name, value in fields.items()}, "", refusals=refused)


def _certificate(store: Store, number: str) -> _Shown:
    from scepkit.ca.profiles.cut import cut_from
    from scepkit.cli import certificate_text
    from scepkit.operations import renewal_chain
    from scepkit.operations.selection import by_serial, certificate_status
    from scepkit.protocol.certificate import Certificate, fingerprint
    from scepkit.server.directory.data_directory import utc_now
    from scepkit.store import RefusalFilter

    (row,) = by_serial(store, [number])
    now, request = utc_now(), store.request_of(row.key)
    certificate = Certificate.read(row.der)
    fields = {
        "serial": show_serial(row.serial),
        "status": certificate_status(row, now),
        "endpoint": row.endpoint,
        "subject": row.subject,
        "names": ", ".join(map(str, certificate.alternative_names)),
        "key": certificate_text.key(certificate.public_key),
        "issuer": str(certificate.issuer_name),
        "issuer_key": row.issuer.hex(),
        "issued": timestamp(row.issued_at),
        "not_before": timestamp(row.not_before),
        "not_after": timestamp(row.not_after),
        "renews": show_serial(row.renews) if row.renews is not None else "",
        "revoked": timestamp(row.revoked_at),
        "reason": reason_name(row.revocation_reason),
        "revoked_by": row.revoked_by or "",
        "invalidity_date": timestamp(row.invalidity_date),
        "sha256": fingerprint(row.der),
        "passphrase": "kept" if store.passphrase(row.key) else "",
        **_planned(store, row),
    }
    return _Shown(
        fields,
        _pem(row.der, "CERTIFICATE"),
        row.key,
        [_done(one) for one in store.revocation_history(row.key)],
        [*renewal_chain.links(store.renewal_chains([row.key]), now)],
        () if request is None else cut_from(request.csr, row.der),
        store.refusal_page(RefusalFilter(endpoint=row.endpoint, serial=row.serial)),
    )


def _planned(store: Store, row: CertificateRow) -> dict[str, str]:
    """Return when a certificate is to be revoked, and why; empty where that is not planned."""
    from scepkit.operations.selection import is_held

    is_over = row.revoked_at is not None and not is_held(row)
    found = None if is_over else store.planned_revocation(row.key)
    return {
        "revocation_due": timestamp(found.due_at) if found else "",
        "revocation_reason": reason_name(found.reason) if found else "",
        "revocation_by": found.by if found else "",
        "revocation_note": found.note if found else "",
    }


def _done(line: RevocationRow) -> dict[str, str]:
    return {
        "at": timestamp(line.at),
        "action": line.action.value,
        "reason": reason_name(line.reason),
        "by": line.by,
        "note": line.note,
        "invalidity_date": timestamp(line.invalidity_date),
    }


def _in_words(line: dict[str, str]) -> str:
    since = f", invalid since {line['invalidity_date']}" if line["invalidity_date"] else ""
    note = f": {line['note']}" if line["note"] else ""
    return f"{line['at']} {line['action']} ({line['reason']}{since}) by {line['by']}{note}"


def _request(store: Store, number: int) -> _Shown:
    from scepkit.cli import certificate_text
    from scepkit.operations.selection import request_status
    from scepkit.protocol import csr
    from scepkit.protocol.scep.attributes import MessageType, TransactionID
    from scepkit.server.directory.data_directory import utc_now
    from scepkit.store import RefusalFilter

    row = store.request(number, now=utc_now())
    if row is None:
        raise UsageError(
            f"there is no request {number}", hint="scep admin list --pending shows them"
        )
    wanted = csr.read_archived(row.csr)
    fields = {
        "id": str(row.id),
        "status": request_status(row),
        "endpoint": row.endpoint,
        "subject": str(wanted.subject),
        "names": ", ".join(map(str, wanted.extensions.subject_alternative_names)),
        "key": certificate_text.key(wanted.public_key),
        "type": MessageType(row.message_type).name,
        "transaction_id": str(TransactionID(row.transaction_id)),
        "requested": timestamp(row.created_at),
        "peer": row.peer or "",
        "expires": timestamp(row.expires_at),
        "decided": timestamp(row.decided_at),
        "decided_by": row.decided_by or "",
        "reason": row.reason or row.approval_reason or "",
        "serial": show_serial(row.serial) if row.serial is not None else "",
        "renews": show_serial(row.renews) if row.renews is not None else "",
        "sha256": row.csr_digest.hex() if row.csr_digest else "",
    }
    refused = RefusalFilter(endpoint=row.endpoint, transaction_id=fields["transaction_id"])
    return _Shown(
        fields, _pem(row.csr, "CERTIFICATE REQUEST"), refusals=store.refusal_page(refused)
    )


def _pem(der: bytes, label: str) -> str:
    import base64
    import textwrap

    lines = textwrap.wrap(base64.b64encode(der).decode("ascii"), 64)
    return "\n".join([f"-----BEGIN {label}-----", *lines, f"-----END {label}-----", ""])


def _drawn(chain: Sequence[Link], asked: CertificateKey | None) -> list[str]:
    """Return a line for each certificate: serial number, validity, state; branches are indented.

    Args:
        chain: in the order of `renewal_chain.links`.
        asked: the certificate that is marked.

    Returns:
        Nothing for one that is alone: it is no chain.
    """
    if len(chain) <= 1:
        return []
    numbers = [f"{_indent(one)}{show_serial(one.row.serial)}" for one in chain]
    width = max(map(len, numbers))
    return [
        f"{number:<{width}}  {_validity(one.row)}  {_state(one)}"
        + ("  <- this one" if one.row.key == asked else "")
        for number, one in zip(numbers, chain, strict=True)
    ]


def link_fields(one: Link) -> dict[str, object]:
    """Return one certificate of a chain for programs."""
    row = one.row
    return {
        "serial": show_serial(row.serial),
        "renews": show_serial(row.renews) if row.renews is not None else "",
        "subject": row.subject,
        "not_before": timestamp(row.not_before),
        "not_after": timestamp(row.not_after),
        "status": one.status,
        "current": one.is_current,
    }


def _indent(one: Link) -> str:
    if not one.depth:
        return ""
    return "  " * (one.depth - 1) + ("+ " if one.is_branch else "  ")


def _validity(row: CertificateRow) -> str:
    return f"{row.not_before:%Y-%m-%d} to {row.not_after:%Y-%m-%d}"


def _state(one: Link) -> str:
    return f"{one.status}, current" if one.is_current else one.status
