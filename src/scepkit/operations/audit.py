"""The audit record taken out of the database, and checked: what was changed, and where.

A chain is read from its first record to the end that its row names, and held to three things: each
record's own hash, the hash that the next one says it follows, and the ends that other chains have
carried. An export that was put aside is a fourth, and the only one that somebody who can write the
whole database cannot change along with it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, NamedTuple

from scepkit.errors import StoreError
from scepkit.store import AuditEvent, AuditRecord, Store
from scepkit.store.audit.events import ranges
from scepkit.store.audit.format import FIRST_PREVIOUS

_SUSPECTS = 1000  # records of a chain that are compared with each other, for those that were moved
_CHUNK = 500  # records of an export that are looked up at once


class Finding(NamedTuple):
    """A fault of a chain.

    Attributes:
        node: the chain's name.
        number: the record's number in it; the first one of several.
        kind: `changed`, `missing`, `reordered` or `truncated`.
        text: the same in words.
    """

    node: str
    number: int
    kind: str
    text: str


class Witness(NamedTuple):
    """The hash of a record as somebody else knows it.

    Attributes:
        hash: in hex.
        name: who knows it.
    """

    hash: str
    name: str


def select(
    store: Store, *, issuer: str = "", limit: int | None = None, **wanted: Any
) -> Iterator[AuditRecord]:
    """Return the records that are wanted, newest first.

    Args:
        store: where they are.
        issuer: the first digits of the SHA-256 of the public key of the certificate's CA, in hex.
        limit: at most so many.
        wanted: as `Store.audit_records` takes it.

    Raises:
        StoreError: the database cannot be read.
    """
    found = store.audit_records(**wanted)
    return islice((one for one in found if one.issuer.startswith(issuer)), limit)


def record_done(store: Store, event: AuditEvent, done: str) -> None:
    """Write the record of what is done already, in files, whatever becomes of the record.

    Args:
        store: where the record is.
        event: what was done.
        done: the same in words.

    Raises:
        StoreError: it cannot be written; the error says that it is done all the same.
    """
    try:
        store.write_audit(event)
    except StoreError as error:
        raise StoreError(
            f"{done}, but the audit record lacks it: {error.message}",
            hint="it stays done: do not do it again; put the database right, and note elsewhere "
            "what was done, when and by whom",
        ) from error


def export(store: Store, *, since: Mapping[str, int], heads_only: bool) -> Iterator[AuditRecord]:
    """Return the records to put aside, chain by chain, as of one moment.

    Args:
        store: where they are.
        since: by chain, the number of the last record that is known already.
        heads_only: only the last record of each chain: with its hash it stands for all before it.

    Raises:
        StoreError: the database cannot be read.
    """
    for node, (end, _) in store.audit_heads().items():
        after = max(since.get(node, 0), end - 1 if heads_only else 0)
        yield from store.audit_chain(node, after=after, until=end)


@dataclass(slots=True)
class AuditCheck:
    """A check of chains, and how far it came.

    Attributes:
        advance: called with how many more records are done.
        chains: the first and the last number that was there, by chain.
    """

    advance: Callable[[int], None] = lambda _more: None
    chains: dict[str, tuple[int, int]] = field(default_factory=dict)

    def database(self, store: Store) -> Iterator[Finding]:
        """Check all chains of a database; what is written meanwhile is left out.

        Raises:
            StoreError: the database cannot be read.
        """
        ends = store.audit_heads()
        witnesses, contradictions = _witnesses(
            record
            for record in store.audit_joins()
            if record.number <= ends.get(record.node, (0, ""))[0]
        )
        yield from contradictions
        for node, (end, end_hash) in ends.items():
            if end < 0:
                yield Finding(node, 0, "changed", "the row of its end has no number")
            chain = _Chain(node, witnesses.pop(node, {}), number=0, hash=FIRST_PREVIOUS.hex())
            for record in store.audit_chain(node, until=end):
                yield from chain.add(record)
                self.advance(1)
            yield from chain.close(end, Witness(end_hash, "the row of its end"))
            self.chains[node] = chain.first, chain.number
        for node, number in store.audit_overrun().items():
            yield Finding(
                node, number, "changed", "the row of its end was set back: the chain goes on"
            )
        for node in store.audit_nodes():
            if node not in ends and node not in store.audit_heads():
                yield Finding(node, 1, "missing", "the chain has records, but no row of its end")
        yield from _unknown(witnesses)

    def export(self, read: Callable[[], Iterable[AuditRecord]]) -> Iterator[Finding]:
        """Check an export by itself; where a chain begins in it is taken on trust.

        Args:
            read: begins to read it.
        """
        witnesses, contradictions = _witnesses(read())
        yield from contradictions
        chains: dict[str, _Chain] = {}
        for record in read():
            chain = chains.get(record.node)
            if chain is None:
                known = witnesses.pop(record.node, {})
                is_first = record.number <= 1
                chain = chains[record.node] = _Chain(
                    record.node,
                    known,
                    number=0 if is_first else record.number - 1,
                    hash=FIRST_PREVIOUS.hex() if is_first else record.previous,
                )
            yield from chain.add(record)
            self.advance(1)
        for node, chain in chains.items():
            yield from chain.close(chain.number, None)
            self.chains[node] = chain.first, chain.number

    def against(self, store: Store, records: Iterable[AuditRecord]) -> Iterator[Finding]:
        """Hold a database, whose chains are checked, to an earlier export.

        Raises:
            StoreError: the database cannot be read.
        """
        rest, lost = iter(records), defaultdict[str, list[int]](list)
        while several := [*islice(rest, _CHUNK)]:
            hashes = {
                node: store.audit_hashes(node, [one.number for one in several if one.node == node])
                for node in {one.node for one in several}
            }
            for one in several:
                found = hashes[one.node].get(one.number)
                if found is None:
                    lost[one.node].append(one.number)
                elif found != one.hash:
                    yield Finding(one.node, one.number, "changed", "the export has another record")
            self.advance(len(several))
        for node, numbers in lost.items():
            is_cut = min(numbers) > self.chains.get(node, (0, 0))[1]
            yield Finding(
                node,
                min(numbers),
                "truncated" if is_cut else "missing",
                f"the export has {ranges(numbers)}, the database has not",
            )


@dataclass(slots=True)
class _Chain:
    """The records of one chain, as they come.

    Attributes:
        node: its name.
        witnesses: hashes that others know, by number.
        number: that of the last record.
        hash: what the next record has to follow; None where that cannot be told.
        first: the number of the first record.
        suspects: records whose hash does not fit.
    """

    node: str
    witnesses: dict[int, Witness]
    number: int
    hash: str | None
    first: int = 0
    suspects: list[AuditRecord] = field(default_factory=list)

    def add(self, record: AuditRecord) -> Iterator[Finding]:
        """Check the next record."""
        number = record.number
        if number <= self.number:
            yield self._finding(number, "reordered", f"it stands behind {self.number}")
            return
        if number > self.number + 1:
            yield self._missing(self.number + 1, number - 1)
            self.hash = None
        witness = self.witnesses.pop(number, None)
        if not record.has_hash_of():
            if len(self.suspects) < _SUSPECTS:
                self.suspects.append(record)
            else:
                yield self._changed(record)
            self.hash = record.hash
        elif self.hash not in (None, record.previous) and not self._is_suspect(number - 1):
            yield self._finding(
                number, "changed", f"it follows another record than the {number - 1} that is there"
            )
        elif witness is not None and witness.hash != record.hash:
            yield self._finding(number, "changed", f"{witness.name} knows another record")
        self.hash = record.hash
        self.first = self.first or number
        self.number = number

    def close(self, end: int, witness: Witness | None) -> Iterator[Finding]:
        """Check what is known of the whole chain.

        Args:
            end: the number of its last record.
            witness: who says so.
        """
        for record in self.suspects:
            moved = next((one for one in self.suspects if _was(record, one.number)), None)
            if moved is None:
                yield self._changed(record)
            else:
                yield self._finding(
                    record.number, "reordered", f"it was the record {moved.number} before"
                )
        last = max((number for number in self.witnesses if number > self.number), default=0)
        if witness is not None and end >= last:
            last = end
        elif last:
            witness = self.witnesses[last]
        if witness is None:
            return
        if last > self.number:
            text = f"the chain ends at {self.number}, but {witness.name} knows {last}"
            yield self._finding(self.number + 1, "truncated", text)
        elif last == self.number and witness.hash != self.hash and self.number:
            yield self._finding(last, "changed", f"{witness.name} has another hash")

    def _is_suspect(self, number: int) -> bool:
        return bool(self.suspects) and self.suspects[-1].number == number

    def _changed(self, record: AuditRecord) -> Finding:
        return self._finding(record.number, "changed", "its hash does not fit what it says")

    def _missing(self, first: int, last: int) -> Finding:
        which = f"{first} is" if first == last else f"{first} to {last} are"
        return self._finding(first, "missing", f"{which} not there")

    def _finding(self, number: int, kind: str, text: str) -> Finding:
        return Finding(self.node, number, kind, text)


def _was(record: AuditRecord, number: int) -> bool:
    return number != record.number and record.has_hash_of(number=number)


def _witnesses(
    records: Iterable[AuditRecord],
) -> tuple[dict[str, dict[int, Witness]], list[Finding]]:
    """Return the heads of each chain that other chains hold, and where those do not agree.

    Without the latter a new chain with false ends could hide what the others know.
    """
    found: dict[str, dict[int, Witness]] = defaultdict(dict)
    contradictions: dict[tuple[str, int], Finding] = {}
    for record in records:
        for node, (number, digest) in record.heads.items():
            witness = Witness(digest, f"{record.node} {record.number}")
            first = found[node].setdefault(number, witness)
            if first.hash != digest:
                text = f"{first.name} and {witness.name} know different records"
                contradictions[node, number] = Finding(node, number, "changed", text)
    return found, [*contradictions.values()]


def _unknown(witnesses: Mapping[str, Mapping[int, Witness]]) -> Iterator[Finding]:
    """Return the chains that others know, and that are not there at all."""
    for node, known in witnesses.items():
        last = max(known)
        text = f"the chain is not there, but {known[last].name} knows {last}"
        yield Finding(node, 1, "truncated", text)
