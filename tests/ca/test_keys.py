"""Key files: for their owner alone, and one clear line when they cannot be used."""

from __future__ import annotations

import base64
import os
import stat
import subprocess
import sys
from contextlib import contextmanager

import pytest
from cryptography.hazmat.primitives import serialization as ser
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from scepkit.errors import SettingsError, UsageError
from scepkit.keys import files
from scepkit.keys import pem as keys


@contextmanager
def umask(value):
    before = os.umask(value)
    try:
        yield
    finally:
        os.umask(before)


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize(("spec", "bits"), [("rsa:2048", 2048), ("rsa:3072", 3072)])
def test_rsa_keys_have_the_size_asked_for(key, spec, bits):
    assert key(spec, "ca").key_size == bits
    assert key(spec, "ca").public_key().public_numbers().e == 65537


def test_rsa_4096_is_wired_to_4096_bits(monkeypatch):
    assert keys._GENERATORS["rsa:4096"].args == (65537, 4096)


def test_ec_keys_are_on_p256(key):
    assert key("ec:p256").curve.name == "secp256r1"


@pytest.mark.parametrize("spec", ["", "rsa", "rsa:1024", "RSA:2048", "ec:p521"])
def test_an_unknown_kind_names_the_known_ones(spec):
    with pytest.raises(UsageError) as caught:
        keys.generate(spec)
    assert "rsa:2048, rsa:3072, rsa:4096, ec:p256" in caught.value.hint


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()])
def test_the_digest_is_as_strong_as_the_curve(curve):
    digest = keys.signature_hash(ec.generate_private_key(curve))
    assert digest.name == {256: "sha256", 384: "sha384", 521: "sha512"}[curve.key_size]


@pytest.mark.parametrize("mask", [0, 0o022, 0o777])
def test_a_key_file_is_its_owners_alone_whatever_the_umask(key, tmp_path, mask):
    path = tmp_path / "key.pem"
    with umask(mask):
        keys.write_key(path, key("ec:p256"))
    assert mode(path) == 0o600
    assert path.read_text().startswith("-----BEGIN PRIVATE KEY-----")
    assert keys.read_key(path).private_numbers() == key("ec:p256").private_numbers()
    assert [file.name for file in tmp_path.iterdir()] == ["key.pem"]


def test_a_key_is_never_readable_by_others_not_even_for_a_moment(key, tmp_path, monkeypatch):
    """The mode is right in the very call that creates the file, before the first byte."""
    seen = []
    real = os.open

    def spy(path, flags, *rest, **options):
        descriptor = real(path, flags, *rest, **options)
        if flags & os.O_CREAT:
            seen.append((stat.S_IMODE(os.fstat(descriptor).st_mode), flags & os.O_EXCL))
        return descriptor

    monkeypatch.setattr(os, "open", spy)
    with umask(0):
        keys.write_key(tmp_path / "key.pem", key("ec:p256"))
    assert seen == [(0o600, os.O_EXCL)]


def test_the_content_reaches_the_disk_before_the_name(key, tmp_path, monkeypatch):
    """The file is synced, then renamed, then the directory is synced."""
    order = []
    monkeypatch.setattr(os, "fsync", lambda fd: order.append(stat.S_ISDIR(os.fstat(fd).st_mode)))
    real = type(tmp_path).replace
    monkeypatch.setattr(
        type(tmp_path), "replace", lambda *paths: (order.append("rename"), real(*paths))[1]
    )
    keys.write_key(tmp_path / "key.pem", key("ec:p256"))
    assert order == [False, "rename", True]


def test_a_failed_write_leaves_the_old_file_and_no_rubbish(tmp_path, monkeypatch):
    path = tmp_path / "file"
    files.write_file(path, b"old", mode=0o600)

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SettingsError, match=f"cannot write {path}: No space left on device"):
        files.write_file(path, b"new", mode=0o600)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_key_file(tmp_path):
    with pytest.raises(SettingsError, match=r"there is no key file .*/none\.pem") as caught:
        keys.read_key(tmp_path / "none.pem")
    assert caught.value.hint


def test_a_directory_is_no_key_file(tmp_path):
    with pytest.raises(SettingsError, match="cannot read the key file") as caught:
        keys.read_key(tmp_path)
    assert caught.value.hint


def test_a_key_file_that_may_not_be_read(key, tmp_path):
    """Root may read everything, so a child drops to another user before it tries."""
    path = tmp_path / "key.pem"
    keys.write_key(path, key("ec:p256"))
    if os.geteuid() != 0:
        path.chmod(0)
        with pytest.raises(SettingsError, match="cannot read the key file"):
            keys.read_key(path)
        return
    program = (
        "import os, sys, pathlib\n"
        "from scepkit.keys import pem as keys\n"
        "from scepkit.errors import SettingsError\n"
        "from cryptography.hazmat.primitives.serialization import load_pem_private_key\n"
        "os.setgid(65534); os.setuid(65534)\n"
        "try: keys.read_key(pathlib.Path(sys.argv[1]))\n"
        "except SettingsError as error: print(error, '|', error.hint)\n"
    )
    command = [sys.executable, "-c", program, path]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert said.startswith(f"cannot read the key file {path}: ")
    assert ": Permission denied | " in said
    assert "belongs to root: sudo -u root" in said


@pytest.mark.parametrize("bits", [0o640, 0o604, 0o660, 0o610, 0o777])
def test_a_key_file_open_to_others_is_refused(key, tmp_path, bits):
    path = tmp_path / "key.pem"
    keys.write_key(path, key("ec:p256"))
    path.chmod(bits)
    with pytest.raises(SettingsError, match=f"open to others than its owner .*{bits:04o}") as seen:
        keys.read_key(path)
    assert seen.value.hint == f"chmod 600 {path}"
    path.chmod(0o400)
    keys.read_key(path)


@pytest.mark.parametrize(
    "content",
    [b"", b"garbage", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", b"\xff"],
)
def test_a_file_that_is_no_key(tmp_path, content):
    path = tmp_path / "key.pem"
    files.write_file(path, content, mode=0o600)
    with pytest.raises(SettingsError, match="is not a private key in PEM") as caught:
        keys.read_key(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("form", [ser.PrivateFormat.PKCS8, ser.PrivateFormat.TraditionalOpenSSL])
def test_an_encrypted_key(key, tmp_path, form):
    path = tmp_path / "key.pem"
    locked = ser.BestAvailableEncryption(b"secret")
    pem = key("ec:p256").private_bytes(ser.Encoding.PEM, form, locked)
    files.write_file(path, pem, mode=0o600)
    with pytest.raises(SettingsError, match="is encrypted") as caught:
        keys.read_key(path)
    assert "openssl pkey" in caught.value.hint


def test_a_key_of_another_kind(tmp_path):
    path = tmp_path / "key.pem"
    form = (ser.Encoding.PEM, ser.PrivateFormat.PKCS8, ser.NoEncryption())
    files.write_file(path, ed25519.Ed25519PrivateKey.generate().private_bytes(*form), mode=0o600)
    with pytest.raises(SettingsError, match="neither RSA nor EC"):
        keys.read_key(path)


def test_certificate_files(ca, tmp_path):
    path = tmp_path / "cert.pem"
    with umask(0):
        keys.write_certificate(path, ca.certificate)
    assert mode(path) == 0o644
    assert keys.read_certificate(path) == ca.certificate
    twice = tmp_path / "twice.pem"
    twice.write_bytes(path.read_bytes() * 2)
    rubbish = tmp_path / "rubbish.pem"
    rubbish.write_bytes(b"rubbish")
    for bad, reason in [
        (tmp_path / "none.pem", "there is no certificate file"),
        (tmp_path, "cannot read the certificate file"),
        (twice, "holds 2 certificates, not one"),
        (rubbish, "is not a certificate in PEM"),
    ]:
        with pytest.raises(SettingsError, match=reason):
            keys.read_certificate(bad)


def test_a_damaged_rsa_key_is_found_though_sound_ones_are_proved_once(tmp_path, key, monkeypatch):
    """A signature with a wrong prime gives the key away."""
    path = tmp_path / "key.pem"
    sound = key("rsa:2048")
    keys.write_key(path, sound)
    skipped = []

    def load(pem, *, password, unsafe_skip_rsa_key_validation):
        skipped.append(unsafe_skip_rsa_key_validation)
        return ser.load_pem_private_key(
            pem, password, unsafe_skip_rsa_key_validation=unsafe_skip_rsa_key_validation
        )

    monkeypatch.setattr(keys, "load_pem_private_key", load)
    monkeypatch.setattr(keys, "_PROVED", set())
    for _ in range(2):
        assert keys.read_key(path).private_numbers() == sound.private_numbers()
    form = ser.Encoding.DER, ser.PrivateFormat.TraditionalOpenSSL, ser.NoEncryption()
    der = sound.private_bytes(*form)
    prime = sound.private_numbers().q.to_bytes(128, "big")
    assert der.count(prime) == 1
    broken = der.replace(prime, (int.from_bytes(prime, "big") ^ 8).to_bytes(128, "big"))
    body = base64.encodebytes(broken).decode()
    path.write_text(f"-----BEGIN RSA PRIVATE KEY-----\n{body}-----END RSA PRIVATE KEY-----\n")
    for _ in range(2):
        with pytest.raises(SettingsError, match="not a private key"):
            keys.read_key(path)
    assert skipped == [False, True, False, False]
