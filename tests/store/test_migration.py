"""A database of the first release becomes one of today, with all that was in it."""

from __future__ import annotations

from importlib import import_module
from ipaddress import ip_address

import pytest
from alembic import command
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from scepkit.errors import StoreError
from scepkit.store import (
    Action,
    AlreadyAnswered,
    ChallengeState,
    Recorded,
    RevocationRow,
    Store,
    schema,
)
from scepkit.store.connections import ConnectionPool, transaction
from scepkit.store.engine import connect
from stored import CA, NOW

DIGEST = {"sqlite": "X'{}'", "postgresql": "'\\x{}'"}


@pytest.fixture
def first_release(url, database, sql):
    """A database at revision 0001, with one certificate in it."""
    engine = connect(url)
    kept = ConnectionPool(engine, writing=True)
    with kept.connection() as connection, transaction(connection):
        command.upgrade(schema.alembic_config(connection), "0001")
    kept.close()
    engine.dispose()
    digest = DIGEST[database].format("aa" * 32)
    time = f"'{NOW:%Y-%m-%d %H:%M:%S.%f}{'+00' if database == 'postgresql' else ''}'"
    rows = {
        "certificates": f"'ab', 'main', 'CN=old', {digest}, {time}, {time}, {digest}, {time}, NULL,"
        " NULL",
        "challenges": f"1, 'main', {digest}, NULL, '[]', {time}, {time}, {time}, 'ab'",
        "transactions": f"11, 'main', {digest}, {digest}",
        "requests": f"11, 11, {digest}, 19, {digest}, 'issued', NULL, NULL, 'ab', {time}, {time}",
    }
    for table, values in rows.items():
        sql(f"INSERT INTO {table} VALUES ({values})")


def test_what_was_there_is_still_there(first_release, url):
    with Store.open(url) as store:
        (row,) = store.requests(status=None)
        assert (row.id, row.serial, row.subject, row.created_at) == (11, 0xAB, "CN=old", NOW)
        assert (row.csr_digest, row.renews, row.challenge_id) == (None,) * 3
        certificate = store.certificate(0xAB)
        assert (certificate.issuer, certificate.renews, certificate.not_after) == (b"", None, NOW)
        assert store.assign_issuer(CA) == 1
        assert store.find_certificate(CA, 0xAB).subject == "CN=old"
        # What names the certificate names it by its CA from now on.
        (row,) = store.requests(status=None)
        assert row.issuer == CA
        (challenge,) = store.challenges()
        assert (challenge.state(NOW), challenge.label) == (ChallengeState.SPENT, None)
        assert (challenge.spent_serial, challenge.spent_issuer) == (0xAB, CA)


def test_the_record_begins_with_what_was_revoked_before(first_release, url, database, sql):
    """A database of revision 0002 knew who revoked and when, but only of the last time."""
    engine = connect(url)
    kept = ConnectionPool(engine, writing=True)
    with kept.connection() as connection, transaction(connection):
        command.upgrade(schema.alembic_config(connection), "0002")
    kept.close()
    engine.dispose()
    sql(
        f"UPDATE certificates SET revoked_at = '{NOW:%Y-%m-%d %H:%M:%S.%f}"
        f"{'+00' if database == 'postgresql' else ''}', revocation_reason = 4, revoked_by = 'al'"
    )
    with Store.open(url) as store:
        (line,) = store.revocation_history(0xAB)
        assert line == RevocationRow(0xAB, Action.REVOKE, 4, "al", "", None, NOW)
        assert store.certificate(0xAB).revoked_by == "al"


def test_names_are_read_from_the_certificates_that_are_there(
    first_release, url, database, sql, monkeypatch
):
    """In more batches than one, and past certificates that nobody can read."""
    batches = import_module("scepkit.store.migrations.versions.r0009_selection")
    monkeypatch.setattr(batches, "BATCH", 2)
    time = f"'{NOW:%Y-%m-%d %H:%M:%S.%f}{'+00' if database == 'postgresql' else ''}'"
    digest = DIGEST[database].format("aa" * 32)
    for number in range(1, 6):
        names = [x509.DNSName(f"Host{number}.example"), x509.IPAddress(ip_address(number))]
        der = DIGEST[database].format(certificate_for(names if number != 3 else []).hex())
        sql(
            f"INSERT INTO certificates VALUES ('{number}', 'main', 'CN={number}', {der}, {time},"
            f" {time}, {digest}, {time}, NULL, NULL)"
        )
    with Store.open(url) as store:
        found = {row.serial: row.names for row in store.certificates()}
    assert found == {0xAB: "", 3: ""} | {
        number: f"dns:host{number}.example\nip:0.0.0.{number}" for number in (1, 2, 4, 5)
    }


def certificate_for(names):
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "old")])
    builder = x509.CertificateBuilder(subject, subject, key.public_key(), 1, NOW, NOW)
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(key, SHA256()).public_bytes(Encoding.DER)


def test_it_goes_on_as_before(first_release, url, issuance, queued, sql):
    with Store.open(url) as store:
        digest = b"\xaa" * 32
        same = {"transaction_id": digest, "signer_key": digest, "fingerprint": digest}
        assert isinstance(store.record(issuance(**same)).result(), AlreadyAnswered)
        assert store.assign_issuer(CA) == 1
        assert isinstance(store.record(issuance(renews=0xAB)).result(), Recorded)
        assert isinstance(store.queue(queued(renews=0xAB)).result(), Recorded)
    assert sql("SELECT version_num FROM alembic_version") == [(schema.HEAD,)]


def test_a_migration_that_fails_leaves_the_old_database(first_release, url, sql, monkeypatch):
    monkeypatch.setattr("alembic.op.create_table", _fail)
    with pytest.raises(StoreError, match="stopped here"):
        Store.open(url)
    monkeypatch.undo()
    assert sql("SELECT version_num FROM alembic_version") == [("0001",)]
    with Store.open(url) as store:
        assert store.certificate(0xAB) is not None


def _fail(*_arguments, **_options):
    raise OSError("stopped here")
