"""A CA's directory: the three layouts, whole or not at all."""

from __future__ import annotations

import os
import stat
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa

from scepkit.ca.authority import Authority
from scepkit.ca.directory import founding, layouts, material
from scepkit.ca.directory.founding import RA_VALIDITY
from scepkit.ca.issuer import Order
from scepkit.ca.profiles.profile import KEY_USAGES, Profile
from scepkit.errors import Hint, SettingsError, UsageError
from scepkit.keys.pem import (
    read_certificate,
    read_key,
    sha256_fingerprint,
    write_certificate,
    write_key,
)
from scepkit.protocol.extensions import NO_EXTENSIONS

pytestmark = pytest.mark.usefixtures("new_keys")


@pytest.fixture
def directory(tmp_path):
    return tmp_path / "new" / "ca"


def names(directory):
    return sorted(path.name for path in directory.iterdir())


def usage(certificate):
    extension = certificate.extensions.get_extension_for_class(x509.KeyUsage)
    assert extension.critical
    bits = ["digital_signature", "key_encipherment", "key_cert_sign", "crl_sign"]
    return [bit for bit in bits if getattr(extension.value, bit)]


@pytest.mark.rfc("S-2.1.2-1", "S-7.2-1", "P-53")
@pytest.mark.parametrize(("kind", "bits"), [("default", 3072), ("ec", 256)])
def test_a_ca_with_an_ra(directory, now, openssl, kind, bits):
    """A separate RA decrypts and signs; the CA's key only signs certificates and CRLs."""
    made = founding.create(directory, kind, now=now)
    ca, ra = made.ca.certificate, made.ra.certificate
    assert made.chain == (ra, ca)
    assert made.ca.private_key.key_size == bits
    assert isinstance(made.ra.private_key, rsa.RSAPrivateKey)
    assert made.ra.private_key.key_size == 2048
    assert made.ra.private_key.public_key() != made.ca.private_key.public_key()
    assert usage(ca) == ["digital_signature", "key_cert_sign", "crl_sign"]
    assert usage(ra) == ["digital_signature", "key_encipherment"]
    assert "Extended Key Usage" not in openssl.text(ra)
    assert ra.not_valid_after_utc == now + RA_VALIDITY < ca.not_valid_after_utc
    openssl.verify(ca, ca)
    openssl.verify(ra, ca)


@pytest.mark.rfc("S-2.1.2-1")
def test_a_single_ca_is_its_own_ra(directory, now, openssl):
    """A CA that answers for itself has digitalSignature and keyEncipherment besides."""
    made = founding.create(directory, "single", now=now)
    ca = made.ca.certificate
    assert made.chain == (ca,)
    assert made.ra.certificate == ca
    assert made.ra.private_key is made.ca.private_key
    assert made.ca.private_key.key_size == 2048
    assert usage(ca) == ["digital_signature", "key_encipherment", "key_cert_sign", "crl_sign"]
    openssl.verify(ca, ca)
    assert names(directory) == [".ca.lock", "ca-key.pem", "ca.pem"]


def test_the_ca_certificate(directory, now, openssl):
    ca = founding.create(directory, "default", now=now).ca.certificate
    text = openssl.text(ca)
    assert "X509v3 Basic Constraints: critical\n                CA:TRUE, pathlen:0" in text
    assert "X509v3 Subject Key Identifier" in text
    assert "X509v3 Authority Key Identifier" in text
    assert ca.subject == ca.issuer
    assert ca.not_valid_before_utc == now - timedelta(minutes=5)
    assert timedelta(days=3650) < ca.not_valid_after_utc - now < timedelta(days=3654)


def test_two_cas_have_two_names(tmp_path, now):
    first, second = (founding.create(tmp_path / one, "ec", now=now) for one in "ab")
    name = first.ca.certificate.subject.rfc4514_string()
    assert name != second.ca.certificate.subject.rfc4514_string()
    assert name.startswith("CN=scepkit CA ")
    assert len(bytes.fromhex(name[-8:])) == 4
    assert first.ra.certificate.subject.rfc4514_string() == f"{name} RA"


def test_a_name_of_ones_own(directory, now):
    made = founding.create(directory, "ec", now=now, common_name="Mill CA", organization="Mill")
    assert made.ca.certificate.subject.rfc4514_string() == "CN=Mill CA,O=Mill"
    assert made.ra.certificate.subject.rfc4514_string() == "CN=Mill CA RA,O=Mill"


@pytest.mark.parametrize(
    "wrong", [{"common_name": "x" * 62}, {"common_name": "\ud800"}, {"organization": ""}]
)
def test_a_name_that_cannot_be_one(directory, now, wrong):
    with pytest.raises(UsageError, match="cannot name a CA"):
        founding.create(directory, "ec", now=now, **wrong)
    assert not directory.exists()


def test_an_unknown_layout(directory, now):
    for make in founding.create, founding.load_or_create:
        with pytest.raises(UsageError, match="no layout 'rsa'") as caught:
            make(directory, "rsa", now=now)
        assert caught.value.hint == "one of default, ec, single"


def test_modes_under_a_hostile_umask(directory, now):
    before = os.umask(0)
    try:
        founding.create(directory, "default", now=now)
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()}
    assert modes == {
        ".ca.lock": 0o600,
        "ca-key.pem": 0o600,
        "ra-key.pem": 0o600,
        "ca.pem": 0o644,
        "ra.pem": 0o644,
    }
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700


@pytest.mark.parametrize("kind", layouts.LAYOUTS)
def test_load_finds_what_create_made(directory, now, kind):
    made = founding.create(directory, kind, now=now)
    before = {path: path.stat().st_mtime_ns for path in directory.iterdir()}
    for found in (
        material.load(directory, now=now),
        founding.load_or_create(directory, "default", now=now),
    ):
        assert found.chain == made.chain
        assert found.ra.certificate == made.ra.certificate
    assert before == {path: path.stat().st_mtime_ns for path in directory.iterdir()}


def test_create_never_replaces_a_ca(directory, now):
    made = founding.create(directory, "ec", now=now)
    with pytest.raises(SettingsError, match=r"there is a CA in .* already"):
        founding.create(directory, "single", now=now)
    assert material.load(directory, now=now).chain == made.chain


def test_there_is_no_ca_to_load(directory, now):
    with pytest.raises(SettingsError, match="there is no CA in") as caught:
        material.load(directory, now=now)
    assert caught.value.hint is Hint.MAKE_CA


@pytest.mark.parametrize("left", ["ca-key.pem", "ra-key.pem", "ra.pem"])
def test_files_of_somebody_elses_are_never_overwritten(directory, now, left):
    """They may be the only copy of a key."""
    directory.mkdir(parents=True)
    (directory / left).write_bytes(b"precious")
    for make in founding.create, founding.load_or_create:
        with pytest.raises(SettingsError, match=f"has {left} but no ca.pem: half a CA") as caught:
            make(directory, "default", now=now)
        assert "restore ca.pem" in caught.value.hint
    with pytest.raises(SettingsError, match="there is no CA in"):
        material.load(directory, now=now)
    assert (directory / left).read_bytes() == b"precious"


def test_a_staged_ca_does_not_overwrite_either(directory, now, tmp_path):
    """A complete `.new-ca`, and beside it a key that came from elsewhere since."""
    founding.create(tmp_path / "other", "ec", now=now)
    directory.mkdir(parents=True)
    (tmp_path / "other").rename(directory / ".new-ca")
    (directory / "ca-key.pem").write_bytes(b"precious")
    with pytest.raises(SettingsError, match="half a CA"):
        founding.load_or_create(directory, "ec", now=now)
    assert (directory / "ca-key.pem").read_bytes() == b"precious"
    (directory / "ca-key.pem").unlink()
    founding.load_or_create(directory, "ec", now=now)
    assert not (directory / ".new-ca").exists()


@pytest.mark.parametrize("lost", ["ca-key.pem", "ra-key.pem", "ra.pem"])
def test_a_lost_file_is_named(directory, now, lost):
    founding.create(directory, "default", now=now)
    (directory / lost).unlink()
    with pytest.raises(SettingsError, match=f"there is no .* file .*/{lost}"):
        founding.load_or_create(directory, "default", now=now)


@pytest.mark.rfc("S-2.1.2-1")
def test_a_ca_that_lost_its_ra_is_not_taken_for_single(directory, now):
    """A CA whose RA files are lost lacks keyEncipherment and does not start as a single one."""
    founding.create(directory, "default", now=now)
    (directory / "ra-key.pem").unlink()
    (directory / "ra.pem").unlink()
    with pytest.raises(SettingsError, match="lacks keyEncipherment") as caught:
        material.load(directory, now=now)
    assert "restore ra.pem and ra-key.pem" in caught.value.hint


def test_a_mixed_up_directory(directory, now, tmp_path, key):
    founding.create(directory, "ec", now=now)
    founding.create(tmp_path / "b", "ec", now=now)
    mine = {name: (directory / name).read_bytes() for name in ("ra.pem", "ra-key.pem")}
    for name, match in [("ra.pem", "the private key is not"), ("ra-key.pem", "was not issued by")]:
        (directory / name).write_bytes((tmp_path / "b" / name).read_bytes())
        with pytest.raises(SettingsError, match=match):
            material.load(directory, now=now)
    for name, content in mine.items():
        (directory / name).write_bytes(content)
    write_key(directory / "ca-key.pem", key("ec:p256", "another"))
    with pytest.raises(SettingsError, match="the private key is not that of"):
        material.load(directory, now=now)


@pytest.mark.parametrize(("days", "reason"), [(-1, "not valid before"), (3652, "expired on")])
def test_a_ca_outside_its_validity(directory, now, days, reason):
    founding.create(directory, "ec", now=now)
    with pytest.raises(SettingsError, match=reason):
        material.load(directory, now=now + timedelta(days=days))


def test_an_ec_ca_may_be_alone(directory, now, make_ca):
    """It cannot decrypt, so it needs no keyEncipherment; endpoints say whether they can use it."""
    ca = make_ca("ec:p256")
    directory.mkdir(parents=True)
    write_key(directory / "ca-key.pem", ca.private_key)
    write_certificate(directory / "ca.pem", ca.certificate)
    read = material.load(directory, now=now)
    assert read.layout == "single"
    assert read.ra.certificate == ca.certificate


def test_an_ec_key_cannot_be_an_ras(directory, now, key):
    founding.create(directory, "ec", now=now)
    write_key(directory / "ra-key.pem", key("ec:p256", "another"))
    with pytest.raises(SettingsError, match=r"ra-key\.pem, is not RSA"):
        material.load(directory, now=now)


@pytest.mark.rfc("S-2.1.2-1")
@pytest.mark.parametrize("lacking", ["digital_signature", "key_encipherment"])
def test_an_ra_that_lacks_a_key_usage_is_not_loaded(directory, now, lacking):
    """A server does not start with an RA whose certificate lacks one of the two bits."""
    founding.create(directory, "ec", now=now)
    ca = Authority(read_certificate(directory / "ca.pem"), read_key(directory / "ca-key.pem"))
    profile = Profile(key_usages=KEY_USAGES - {lacking})
    issued = ca.certify(
        Order(
            subject=ca.own.subject_name,
            public_key=read_key(directory / "ra-key.pem").public_key(),
            requested=NO_EXTENSIONS,
            profile=profile,
            now=now,
        )
    )
    write_certificate(directory / "ra.pem", x509.load_der_x509_certificate(issued.der))
    with pytest.raises(SettingsError, match=r"the keyUsage of .* lacks"):
        material.load(directory, now=now)


def test_a_directory_that_is_none(tmp_path, now):
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(SettingsError, match="cannot use the directory"):
        founding.load_or_create(file, "ec", now=now)


def test_of_several_processes_one_makes_the_ca_and_all_have_it(tmp_path, now, child):
    said = child("race", "load_or_create", tmp_path / "ca")
    ours = sha256_fingerprint(material.load(tmp_path / "ca", now=now).ca.certificate)
    assert said == [ours] * 6
    assert not (tmp_path / "ca" / ".new-ca").exists()


def test_killed_at_any_step_it_is_healed_and_never_looks_complete_when_it_is_not(killed, now):
    for directory in killed("create"):
        complete = (directory / "ca.pem").exists()
        if complete:
            published = material.load(directory, now=now).chain
        else:
            with pytest.raises(SettingsError, match="there is no CA in"):
                material.load(directory, now=now)
        healed = founding.load_or_create(directory, "ec", now=now)
        assert len(healed.chain) == 2
        if complete:
            assert healed.chain == published
        else:
            found = names(directory)
            assert found == [".ca.lock", "ca-key.pem", "ca.pem", "ra-key.pem", "ra.pem"]
