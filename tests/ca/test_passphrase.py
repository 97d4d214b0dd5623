"""Keys at rest under a passphrase: what is written, who reads it, and a CA that lives with it."""

from __future__ import annotations

from datetime import timedelta

import pytest
from cryptography.hazmat.primitives import serialization as ser
from hypothesis import given
from hypothesis import strategies as st

from openssl import OpenSSL
from scepkit.ca.directory import founding, requesting, rollover
from scepkit.ca.directory.adoption import adopt
from scepkit.ca.directory.founding import RA_VALIDITY, ca_name, self_signed
from scepkit.ca.directory.material import load, load_authorities, load_responders
from scepkit.ca.directory.rotation import rotate_ocsp, rotate_ra
from scepkit.errors import ScepError, SettingsError
from scepkit.keys import files, passphrase, pem
from scepkit.keys.passphrase import OtherEncryptionError, Passphrase, WrongPassphrase
from scepkit.keys.pem import generate

DAY = timedelta(days=1)
TEXT = "correct hörse battery"


@pytest.fixture
def openssl(tmp_path):
    return OpenSSL(tmp_path)


@pytest.fixture
def quick():
    """A passphrase with little work in it, so that a test does not take seconds."""
    return Passphrase(TEXT, rounds=1000)


@pytest.mark.parametrize("spec", ["rsa:2048", "ec:p256"])
def test_openssl_and_the_library_read_what_is_written(spec, key, tmp_path, openssl):
    """600 000 rounds of PBKDF2 and AES-256-CBC, which openssl opens with the passphrase."""
    path = tmp_path / "key.pem"
    pem.write_key(path, key(spec), Passphrase(TEXT))
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.read_bytes().startswith(b"-----BEGIN ENCRYPTED PRIVATE KEY-----\n")
    in_clear = openssl.run("pkey", "-in", path, "-passin", f"pass:{TEXT}", "-outform", "DER")
    form = (ser.Encoding.DER, ser.PrivateFormat.PKCS8, ser.NoEncryption())
    read = ser.load_der_private_key(in_clear, None)
    assert read.private_bytes(*form) == key(spec).private_bytes(*form)
    shown = openssl.run("asn1parse", "-in", path).decode()
    assert "PBKDF2" in shown
    assert "hmacWithSHA256" in shown
    assert "aes-256-cbc" in shown
    assert f":{passphrase.ROUNDS:06X}" in shown
    assert pem.read_key(path, Passphrase(TEXT)).private_bytes(*form) == key(spec).private_bytes(
        *form
    )


@pytest.mark.parametrize("form", [ser.PrivateFormat.PKCS8, ser.PrivateFormat.TraditionalOpenSSL])
def test_a_file_that_others_encrypted_is_read(form, key, tmp_path, quick):
    path = tmp_path / "key.pem"
    locked = ser.BestAvailableEncryption(TEXT.encode())
    files.write_file(path, key("ec:p256").private_bytes(ser.Encoding.PEM, form, locked), mode=0o600)
    assert pem.read_key(path, quick).private_numbers() == key("ec:p256").private_numbers()
    with pytest.raises(WrongPassphrase, match="does not open the key file"):
        pem.read_key(path, Passphrase("another"))


def test_scrypt_of_openssl_is_read(key, tmp_path, openssl, quick):
    clear, path = tmp_path / "clear.pem", tmp_path / "key.pem"
    pem.write_key(clear, key("ec:p256"))
    encrypt = ("pkcs8", "-topk8", "-scrypt", "-passout", f"pass:{TEXT}")
    files.write_file(path, openssl.run(*encrypt, "-in", clear), mode=0o600)
    assert pem.read_key(path, quick).private_numbers() == key("ec:p256").private_numbers()


def test_a_wrong_passphrase(key, tmp_path, quick):
    """256 of them: garbage is padded rightly now and then, and is no key all the same."""
    path = tmp_path / "key.pem"
    pem.write_key(path, key("ec:p256"), Passphrase(TEXT, rounds=1))
    for number in range(600):
        with pytest.raises(WrongPassphrase) as caught:
            pem.read_key(path, Passphrase(f"wrong {number}"))
        assert TEXT not in f"{caught.value} {caught.value.hint}"
    assert pem.read_key(path, quick)


def test_no_passphrase(key, tmp_path, quick):
    path = tmp_path / "key.pem"
    pem.write_key(path, key("ec:p256"), quick)
    with pytest.raises(SettingsError, match="is encrypted"):
        pem.read_key(path)
    with pytest.raises(SettingsError, match="empty"):
        Passphrase("")
    assert TEXT not in repr(quick)


def test_all_that_one_passphrase_writes_takes_one_derivation(monkeypatch):
    """The salt is the same, and what was encrypted is not."""
    derived = []
    derive = passphrase.Derivation.derive
    monkeypatch.setattr(
        passphrase.Derivation, "derive", lambda *given: derived.append(1) or derive(*given)
    )
    writing = Passphrase(TEXT, rounds=1000)
    first, second = writing.encrypt(b"one"), writing.encrypt(b"one")
    assert first != second
    reading = Passphrase(TEXT, rounds=1000)
    assert [reading.decrypt(first), reading.decrypt(second)] == [b"one", b"one"]
    assert reading.decrypt(reading.encrypt(b"two")) == b"two"
    assert len(derived) == 2


def test_weaker_work_is_not_taken_over():
    """What is written has at least its own number of rounds, whatever was read."""
    weak = Passphrase(TEXT, rounds=10).encrypt(b"secret")
    strong = Passphrase(TEXT, rounds=1000)
    assert strong.decrypt(weak) == b"secret"
    with pytest.raises(WrongPassphrase):
        Passphrase("other").decrypt(strong.encrypt(b"secret"))
    assert b"\x02\x02\x03\xe8" in strong.encrypt(b"secret")


@given(st.binary(max_size=200), st.text(min_size=1, max_size=30))
def test_whatever_is_encrypted_comes_back(secret, text):
    once = Passphrase(text, rounds=1)
    assert Passphrase(text, rounds=1).decrypt(once.encrypt(secret)) == secret


@given(st.data())
def test_damage_is_an_error_of_ours(data):
    octets = bytearray(Passphrase(TEXT, rounds=1).encrypt(b"secret" * 10))
    at = data.draw(st.integers(0, len(octets) - 1))
    octets[at] ^= data.draw(st.integers(1, 255))
    damaged = bytes(octets[: data.draw(st.integers(0, len(octets)))])
    if _is_long(damaged):
        return
    try:
        Passphrase(TEXT, rounds=1).decrypt(damaged)
    except (WrongPassphrase, OtherEncryptionError):
        pass
    except ScepError as error:
        pytest.fail(repr(error))


def _is_long(encrypted):
    """Say whether opening it takes seconds: the damage made its rounds many."""
    try:
        derivation, _, _ = passphrase._parts(encrypted)
    except ScepError:
        return False
    return derivation.iterations > 10_000


@pytest.mark.usefixtures("new_keys", "no_fsync")
def test_a_ca_keeps_its_protection_through_rotation_and_rollover(tmp_path, now, quick):
    """No key file of any generation is ever in clear."""
    directory = tmp_path / "ca"
    founding.create(directory, "ec", now=now, passphrase=quick)
    rotate_ocsp(directory, now=now, passphrase=quick)
    rollover.prepare(directory, now=now, passphrase=quick)
    later = now + RA_VALIDITY - 10 * DAY
    assert rotate_ra(directory, now=later, before=30 * DAY, passphrase=quick)
    assert rotate_ocsp(directory, now=later, passphrase=quick)
    rollover.activate(directory, now=later, passphrase=quick)
    material = load(directory, now=later, passphrase=Passphrase(TEXT))
    assert len(material.previous) == 1
    assert load_responders(directory, material, now=later, passphrase=quick)
    keys = list(directory.rglob("*-key.pem"))
    assert len(keys) >= 8
    assert all(pem.is_encrypted(one) for one in keys)


@pytest.mark.usefixtures("new_keys", "no_fsync")
def test_a_protected_ca_without_its_passphrase(tmp_path, now, quick):
    directory = tmp_path / "ca"
    founding.create(directory, "single", now=now, passphrase=quick)
    for read in (load, load_authorities):
        with pytest.raises(SettingsError, match="is encrypted"):
            read(directory, now=now)
        with pytest.raises(WrongPassphrase):
            read(directory, now=now, passphrase=Passphrase("other"))
    before = sorted(path.read_bytes() for path in directory.iterdir())
    with pytest.raises(SettingsError, match="is encrypted"):
        rollover.prepare(directory, now=now)
    assert sorted(path.read_bytes() for path in directory.iterdir()) == before


@pytest.mark.usefixtures("new_keys", "no_fsync")
@pytest.mark.parametrize("given", [None, "other"])
def test_no_key_comes_beside_others_under_another_passphrase(tmp_path, now, quick, given):
    """A server has one: it could read neither the next CA nor the key of the request."""
    directory = tmp_path / "ca"
    founding.create(directory, "single", now=now, passphrase=quick)
    before = sorted(path.name for path in directory.iterdir())
    other = generate("ec:p256")
    name = ca_name("Other")
    certificate = self_signed(other, name, now=now, decrypts=False)
    passphrase = given and Passphrase(given, rounds=1)
    with pytest.raises(SettingsError, match=r"is encrypted|does not open"):
        adopt(directory, certificate, other, [], now=now, passphrase=passphrase)
    with pytest.raises(SettingsError, match=r"is encrypted|does not open"):
        requesting.make(directory, subject=name, key="ec:p256", passphrase=passphrase)
    assert sorted(path.name for path in directory.iterdir()) == before
