"""`scep admin revoke` for many at once: progress, questions, and what is left when it stops."""

from __future__ import annotations

import io
import json
import sys
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from sqlalchemy import update

from scepkit.ca.directory import paths
from scepkit.ca.directory.founding import create
from scepkit.cli import terminal
from scepkit.errors import StoreError
from scepkit.operations import revocation, selection
from scepkit.protocol.certificate import show_serial
from scepkit.protocol.crl import Reason
from scepkit.server.directory import data_directory
from scepkit.store import Store
from scepkit.store.tables.certificates import certificates
from stored import make_issuance

NUMBER = 25  # more than are told one by one


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A data directory whose CA issued so many certificates."""
    path = tmp_path_factory.mktemp("many") / "scep-data"
    now = datetime.now(UTC)
    home = data_directory.prepare(path, now=now, layout="ec")
    with Store.open(home.settings.database_url) as store:
        times = {"now": now, "not_before": now, "not_after": now + timedelta(days=9)}
        made = [
            make_issuance(issuer=home.material.ca.key_hash, endpoint="default", **times)
            for _ in range(NUMBER)
        ]
        for future in [store.record(one) for one in made]:
            future.result()
    return path


@pytest.fixture
def home(prepared, tmp_path):
    import shutil

    return shutil.copytree(prepared, tmp_path / "scep-data")


@contextmanager
def opened(home):
    with Store.open(f"sqlite:///{home}/scep.db") as store:
        yield store


@pytest.fixture
def listed(home, tmp_path):
    with opened(home) as store:
        serials = [show_serial(row.serial) for row in store.certificates()]
    path = tmp_path / "list"
    path.write_text("\n".join(serials))
    return path


def revoked(home):
    with opened(home) as store:
        return [row for row in store.certificates() if row.revoked_at is not None]


def test_a_list_is_summed_up(scep, home, listed):
    """Twice the same: the second time nothing is new, and no CRL is signed."""
    batch = ["admin", "revoke", "--batch", listed, "--yes", "--reason", "superseded"]
    status, out, err = scep(*batch, "--note", "all of them")
    assert (status, out) == (0, "")
    summary, crl = err.splitlines()
    assert summary == f"revoked {NUMBER} certificates"
    assert crl.startswith("signed CRL number 1 of ")
    rows = revoked(home)
    assert {row.revocation_reason for row in rows} == {Reason.superseded}
    with opened(home) as store:
        (line,) = store.revocation_history(rows[0].serial)
    assert (line.note, line.by) == ("all of them", rows[0].revoked_by)
    assert scep(*batch) == (
        0,
        "",
        f"revoked 0 certificates; {NUMBER} were revoked before\n",
    )


def test_a_ca_that_is_not_there_any_more_signs_no_crl(scep, home):
    """It was a next CA that was cancelled, or its directory was removed: that is said."""
    now = datetime.now(UTC)
    gone = make_issuance(issuer=b"g" * 32, now=now, not_after=now + timedelta(days=9))
    with opened(home) as store:
        store.record(gone).result()
    serial = show_serial(gone.serial)
    status, _, err = scep("admin", "revoke", serial)
    assert status == 0
    said, warning, hint = err.splitlines()
    assert said.startswith(f"revoked {serial}")
    assert warning == "warning: the change is stored, but no CRL will list it"
    assert hint.startswith("hint: ")


def test_from_stdin_as_json(scep, home, listed, monkeypatch):
    piped = io.TextIOWrapper(io.BytesIO(listed.read_bytes()))
    monkeypatch.setattr(sys, "stdin", piped)
    status, out, _ = scep("admin", "revoke", "--batch", "-", "--yes", "--json")
    assert status == 0
    lines = [json.loads(line) for line in out.splitlines()]
    assert [line["serial"] for line in lines] == listed.read_text().split()
    assert {line["result"] for line in lines} == {"revoked"}


def test_a_dry_run_changes_nothing(scep, home, listed):
    status, out, err = scep("admin", "revoke", "--batch", listed, "--dry-run")
    assert (status, out) == (0, "")
    assert err.count("would revoke ") == 20 + 1
    assert err.endswith(f"would revoke {NUMBER} certificates\n")
    assert revoked(home) == []


@pytest.mark.parametrize(("said", "count"), [("n\n", 0), ("y\n", NUMBER)])
def test_somebody_is_asked(scep, home, listed, answer, said, count):
    answer(said)
    status, _, err = scep("admin", "revoke", "--batch", listed)
    assert status == (0 if count else 1)
    assert "  and 5 more\n" in err
    assert f"Revoke {NUMBER} certificates with the reason unspecified?" in err
    assert len(revoked(home)) == count


def test_several_of_a_subject(scep, home, monkeypatch):
    """They are asked about, too; the same answer as for a list."""
    with opened(home) as store:
        found = [*store.certificates(limit=2)]
    monkeypatch.setattr(selection, "by_subject", lambda *_: found)
    status, _, err = scep("admin", "revoke", "--subject", "CN=device")
    assert (status, err.splitlines()[0]) == (
        2,
        "error: 2 certificates would be revoked, and there is no terminal to ask at",
    )
    assert revoked(home) == []
    assert scep("admin", "revoke", "--subject", "CN=device", "--yes")[0] == 0
    assert len(revoked(home)) == 2


def test_what_is_done_stays_done(scep, home, listed, monkeypatch):
    """A disk that fills up in the middle: it says how far it came, and can be given again."""
    monkeypatch.setattr(revocation, "_CHUNK", 10)
    really, calls = Store.revoke_all, []

    def filling(store, serials, **how):
        calls.append(serials)
        if len(calls) == 2:
            raise StoreError("the disk is full")
        return really(store, serials, **how)

    monkeypatch.setattr(Store, "revoke_all", filling)
    status, _, err = scep("admin", "revoke", "--batch", listed, "--yes")
    assert status == 2
    assert f"warning: 10 of {NUMBER} are revoked; the same command does the rest\n" in err
    assert "error: the disk is full" in err
    assert len(revoked(home)) == 10
    status, _, err = scep("admin", "revoke", "--batch", listed, "--yes")
    assert (status, err.splitlines()[0]) == (
        0,
        "revoked 15 certificates; 10 were revoked before",
    )


def test_progress_is_shown_on_a_terminal_only(capsys, monkeypatch):
    with terminal.bar("revoking", 3, shown=True) as advance:
        advance(3)
    assert capsys.readouterr() == ("", "")
    monkeypatch.setattr(terminal.sys.stderr, "isatty", lambda: True, raising=False)
    with terminal.bar("revoking", 3, shown=False) as advance:
        advance(3)
    assert capsys.readouterr() == ("", "")
    with terminal.bar("revoking", 3, shown=True) as advance:
        advance(2)
    out, err = capsys.readouterr()
    assert out == ""
    assert "revoking" in err
    assert "2/3" in err


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\xff\xfe", "is not text"),
        (b"1" * (64 * 1024 * 1024 + 1), "has more than"),
    ],
    ids=["binary", "huge"],
)
def test_a_list_that_is_none(scep, home, tmp_path, content, words):
    path = tmp_path / "wrong"
    path.write_bytes(content)
    status, _, err = scep("admin", "revoke", "--batch", path, "--yes")
    assert status == 2
    assert words in err


# --- keys that cannot be used ---------------------------------------------------------------------


def aged(home, days):
    """Make the CA anew, so many days ago, and let it have issued what there is."""
    for name in paths.FILES:
        (home / name).unlink(missing_ok=True)
    material = create(home, "ec", now=datetime.now(UTC) - timedelta(days=days))
    with opened(home) as store, store._writing("change the issuer") as connection:
        connection.execute(update(certificates).values(issuer=material.ca.key_hash))
    return material.ca.certificate


def test_an_expired_ra_is_no_reason_not_to_sign(scep, home):
    """A CRL needs the CA's key alone."""
    ca = aged(home, 800)
    with opened(home) as store:
        serial = show_serial(next(store.certificates()).serial)
    status, _, err = scep("admin", "revoke", serial)
    assert status == 0
    assert "signed CRL number 1" in err
    assert "warning" not in err
    status, out, err = scep("admin", "crl")
    assert status == 0, err
    crl = x509.load_pem_x509_crl(out.encode())
    assert crl.is_signature_valid(ca.public_key())
    assert [show_serial(one.serial_number) for one in crl] == [serial]


def test_of_an_expired_ca_no_crl_is_signed_but_the_revocation_stands(scep, home):
    aged(home, 4000)
    with opened(home) as store:
        serial = show_serial(next(store.certificates()).serial)
    status, _, err = scep("admin", "revoke", serial)
    assert status == 0
    assert "warning: the change is stored, but no new CRL could be signed" in err
    assert "expired on" in err
    assert [show_serial(row.serial) for row in revoked(home)] == [serial]
    status, out, err = scep("admin", "crl")
    assert (status, out) == (2, "")
    assert "expired on" in err


def test_with_json_the_crl_that_cannot_be_signed_is_an_error_in_json(scep, home):
    aged(home, 4000)
    with opened(home) as store:
        serial = show_serial(next(store.certificates()).serial)
    status, out, err = scep("admin", "revoke", serial, "--reason", "certificateHold", "--json")
    assert (status, json.loads(out)["serial"]) == (0, serial)
    assert "expired on" in json.loads(err.splitlines()[-1])["error"]
    status, out, err = scep("admin", "release", serial, "--json")
    assert (status, json.loads(out)["serial"]) == (0, serial)
    assert "expired on" in json.loads(err.splitlines()[-1])["error"]


def test_another_ca_that_has_expired_is_no_reason_either(scep, home):
    """Of the one that issued the certificate the CRL is signed, and nothing is warned of."""
    with (home / "scep.toml").open("a") as file:
        file.write('\n[endpoint.vpn]\nca = "vpn"\n')
    create(home / "ca-vpn", "ec", now=datetime.now(UTC) - timedelta(days=4000))
    with opened(home) as store:
        serial = show_serial(next(store.certificates()).serial)
    status, _, err = scep("admin", "revoke", serial)
    assert status == 0
    assert "signed CRL number 1" in err
    assert "warning" not in err
    status, _, err = scep("admin", "crl", "--ca", "vpn")
    assert status == 2
    assert "expired on" in err
