"""Links that are planted between two steps of a program that uses a `Folder`."""

from __future__ import annotations

import pytest

import httpd
import keys
from pair import _Public
from scepkit.client.folder import Folder
from scepkit.client.folder.record import RevocationNote
from scepkit.errors import SettingsError
from scepkit.protocol.scep.attributes import TransactionID
from scepkit.protocol.scep.transaction import Issued

NOTE = RevocationNote("1", "2026-11-28T00:00:00+00:00")


def issued(issuer=None):
    issuer = issuer or httpd.ca()
    holder = httpd.certify("dev1", _Public(keys.rsa_key("new").public_key()), issuer)
    return Issued(holder.certificate, (issuer.certificate,), TransactionID(b"1"))


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("key.pem.new", lambda folder: folder.begin(keys.rsa_key("new"))),
        ("revocation.json", lambda folder: folder.note_revocation(NOTE)),
        ("cert.unverified.pem", lambda folder: folder.keep_unverified([b"\x30\x00"])),
    ],
)
@pytest.mark.parametrize("leads", [True, False], ids=["leads", "dangling"])
def test_what_is_written_replaces_a_link(tmp_path, name, write, leads):
    target = tmp_path / "precious"
    if leads:
        target.write_text("precious")
    folder = Folder(tmp_path / "dev1")
    with folder.locked():
        (folder.path / name).symlink_to(target)
        write(folder)
    assert not (folder.path / name).is_symlink()
    assert (target.read_text() if target.exists() else "") == ("precious" if leads else "")


@pytest.mark.parametrize(
    "write",
    [
        lambda folder: folder.ahead.begin(keys.rsa_key("new")),
        lambda folder: folder.ahead.install(issued(httpd.ca("next-ca"))),
        lambda folder: folder.keep_next_ca([httpd.ca("next-ca").certificate]),
        lambda folder: folder.switch(),
        lambda folder: folder.forget_ahead(),
    ],
    ids=["begin", "install", "keep_next_ca", "switch", "forget_ahead"],
)
def test_the_next_certificates_directory_is_not_somewhere_else(tmp_path, write):
    """It is neither written to nor emptied through a link."""
    elsewhere = Folder(tmp_path / "elsewhere")
    elsewhere.begin(keys.rsa_key("new"))
    elsewhere.install(issued())
    elsewhere.begin(keys.rsa_key("new"))
    before = {path.name: path.read_bytes() for path in elsewhere.path.iterdir()}
    folder = Folder(tmp_path / "dev1")
    with folder.locked():
        (folder.path / "next").symlink_to(elsewhere.path)
        with pytest.raises(SettingsError, match="next is a symbolic link, and is not followed"):
            write(folder)
    assert {path.name: path.read_bytes() for path in elsewhere.path.iterdir()} == before


def test_a_file_of_the_next_certificate_is_not_somewhere_else(tmp_path):
    """Else that key would be installed."""
    folder = Folder(tmp_path / "dev1")
    folder.ahead.begin(keys.rsa_key("new"))
    folder.ahead.install(issued())
    key = (folder.ahead.path / "key.pem").rename(tmp_path / "elsewhere.pem")
    (folder.ahead.path / "key.pem").symlink_to(key)
    with pytest.raises(SettingsError, match=r"next/key\.pem is a symbolic link"):
        folder.switch()
    assert not folder.unfinished.exists()
