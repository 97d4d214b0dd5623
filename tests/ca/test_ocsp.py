"""The key that answers OCSP for a CA: its certificate, when it is made anew, and who signs else."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp as library

from scepkit.ca import ocsp
from scepkit.ca.directory import founding, paths, rollover, rotation
from scepkit.ca.directory.material import load, load_responders
from scepkit.ca.directory.rotation import OCSP_BEFORE, rotate_ocsp
from scepkit.ca.issuer import Order
from scepkit.ca.ocsp import OCSP_VALIDITY
from scepkit.ca.profiles.profile import Profile
from scepkit.errors import SettingsError
from scepkit.keys.pem import generate, read_certificate, write_certificate, write_key
from scepkit.protocol.distinguished_name import Name
from scepkit.protocol.extensions import NO_EXTENSIONS
from scepkit.protocol.ocsp import read_request

NOW = datetime(2026, 11, 5, 12, 30, 15, tzinfo=UTC)

pytestmark = pytest.mark.usefixtures("new_keys", "no_fsync")

DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)
FILES = ["ocsp-key.pem", "ocsp.pem"]


@pytest.fixture
def directory(tmp_path, now):
    founding.create(tmp_path / "ca", "ec", now=now)
    return tmp_path / "ca"


def names(directory):
    return sorted(path.name for path in directory.iterdir())


def signer_of(directory, ca, at):
    """Return the certificate that responses about a CA's certificates are signed with."""
    material = load(directory, now=at)
    responders = load_responders(directory, material, now=at)
    builder = library.OCSPRequestBuilder().add_certificate(ca, ca, hashes.SHA256())
    (asked,) = read_request(builder.build().public_bytes(Encoding.DER)).certificates
    signer, end = responders.of(asked).signer(at)
    if signer.certificate is None:
        assert end == ca.not_valid_after_utc
        return ca
    certificate = signer.certificate.x509()
    assert signer.key.public_key() == certificate.public_key()
    assert end == certificate.not_valid_after_utc
    return certificate


@pytest.mark.parametrize(
    ("chosen", "kind"),
    [("ec", ec.EllipticCurvePublicKey), ("single", rsa.RSAPublicKey)],
)
def test_its_certificate(tmp_path, now, openssl, chosen, kind):
    """RFC 6960 section 4.2.2.2: of the CA itself, for OCSP and nothing else, not to be checked."""
    ca = founding.create(tmp_path, chosen, now=now).ca.certificate
    assert rotate_ocsp(tmp_path, now=now)
    made = read_certificate(tmp_path / "ocsp.pem")
    openssl.verify(made, ca, at=now)
    assert isinstance(made.public_key(), kind)
    assert made.public_key() != ca.public_key()
    assert made.not_valid_after_utc == now + OCSP_VALIDITY
    assert (tmp_path / "ocsp-key.pem").stat().st_mode & 0o777 == 0o600
    found = {one.oid: one for one in made.extensions}
    purposes = found[x509.ExtendedKeyUsage.oid].value
    assert list(purposes) == [x509.ExtendedKeyUsageOID.OCSP_SIGNING]
    assert found[x509.OCSPNoCheck.oid].value == x509.OCSPNoCheck()
    usage = found[x509.KeyUsage.oid].value
    assert usage.digital_signature
    assert not usage.key_cert_sign
    assert not usage.crl_sign
    assert not found[x509.BasicConstraints.oid].value.ca
    assert made.subject not in (ca.subject, made.issuer)
    assert signer_of(tmp_path, ca, now) == made


def test_the_longest_name_has_room(make_ca, key, now, openssl):
    ca = make_ca(name="N" * 61)
    made = ocsp.issue(ca, key("ec:p256", "ocsp"), now=now)
    (name,) = made.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    assert name.value == "N" * 59 + " OCSP"
    openssl.verify(made, ca.certificate, at=now)


def test_without_one_the_ca_signs(directory, now):
    ca = load(directory, now=now).ca.certificate
    assert signer_of(directory, ca, now) == ca


def test_not_a_second_too_early_and_only_once(directory, now):
    assert rotate_ocsp(directory, now=now)
    due = now + OCSP_VALIDITY - OCSP_BEFORE
    first = read_certificate(directory / "ocsp.pem")
    assert not rotate_ocsp(directory, now=due - SECOND)
    assert rotate_ocsp(directory, now=due)
    assert not rotate_ocsp(directory, now=due)
    second = read_certificate(directory / "ocsp.pem")
    assert second.public_key() != first.public_key()
    assert names(directory) == [".ca.lock", "ca-key.pem", "ca.pem", *FILES, "ra-key.pem", "ra.pem"]


def test_one_that_expired_while_it_served(directory, now):
    """The CA signs from the very second on; the next round makes a new one."""
    rotate_ocsp(directory, now=now)
    ca = load(directory, now=now).ca.certificate
    made = read_certificate(directory / "ocsp.pem")
    end = now + OCSP_VALIDITY
    responder = next(iter(_responders(directory, now).values()))
    assert responder.signer(end - SECOND)[0].certificate.x509() == made
    assert responder.signer(end)[0].certificate is None
    assert signer_of(directory, ca, end) == ca
    assert rotate_ocsp(directory, now=end)
    assert signer_of(directory, ca, end) not in (ca, made)


def _responders(directory, at):
    return load_responders(directory, load(directory, now=at), now=at)._named


def test_where_the_ca_ends_nothing_rotates_for_ever(directory, now):
    end = load(directory, now=now).ca.certificate.not_valid_after_utc
    assert rotate_ocsp(directory, now=end - 35 * DAY)
    assert rotate_ocsp(directory, now=end - 15 * DAY)
    assert read_certificate(directory / "ocsp.pem").not_valid_after_utc == end
    assert not rotate_ocsp(directory, now=end - SECOND)
    assert not rotate_ocsp(directory, now=end)


@pytest.mark.parametrize(
    "damage",
    [
        lambda place, _: (place / "ocsp-key.pem").unlink(),
        lambda place, _: (place / "ocsp.pem").unlink(),
        lambda place, _: (place / "ocsp.pem").write_text("garbage"),
        lambda place, _: (place / "ocsp-key.pem").write_text("garbage"),
        lambda place, _: (place / "ocsp-key.pem").chmod(0o644),
        lambda place, _: write_key(place / "ocsp-key.pem", generate("ec:p256")),
        lambda place, _: _instead(place, "ca"),
        lambda place, _: _instead(place, "ra"),
        lambda place, _: _for_another_purpose(place),
        lambda place, other: [shutil.copy(other / one, place / one) for one in FILES],
    ],
    ids=[
        *("no key", "no certificate", "garbage", "garbage key", "open", "another key"),
        *("the CA's", "the RA's", "a device's", "of another CA"),
    ],
)
def test_whatever_is_wrong_with_it_it_is_made_anew(directory, tmp_path, now, damage):
    """Nothing stops, and the CA signs meanwhile."""
    founding.create(tmp_path / "other", "ec", now=now, common_name="Other")
    for one in (directory, tmp_path / "other"):
        rotate_ocsp(one, now=now)
    damage(directory, tmp_path / "other")
    ca = load(directory, now=now).ca.certificate
    assert signer_of(directory, ca, now) == ca
    assert rotate_ocsp(directory, now=now)
    assert signer_of(directory, ca, now).public_key() != ca.public_key()


def _instead(place, whose):
    for name in ("{}-key.pem", "{}.pem"):
        shutil.copy(place / name.format(whose), place / name.format("ocsp"))


def _for_another_purpose(place):
    ca, own = load(place, now=NOW).ca, generate("ec:p256")
    write_key(place / "ocsp-key.pem", own)
    issued = ca.certify(
        Order(
            subject=Name.parse("CN=device"),
            public_key=own.public_key(),
            requested=NO_EXTENSIONS,
            profile=Profile(),
            now=NOW,
        )
    )
    write_certificate(place / "ocsp.pem", x509.load_der_x509_certificate(issued.der))


def test_a_directory_that_cannot_be_written(directory, now, monkeypatch):
    """It is asked of it only when something is due."""
    rotate_ocsp(directory, now=now)
    monkeypatch.setattr("scepkit.ca.directory.replacing.locked", None)
    assert not rotate_ocsp(directory, now=now)
    with pytest.raises(TypeError):
        rotate_ocsp(directory, now=now + OCSP_VALIDITY)


def test_no_ca_no_responder(tmp_path, now):
    with pytest.raises(SettingsError, match="no CA in"):
        rotate_ocsp(tmp_path, now=now)


def test_each_generation_has_its_own(directory, now, openssl):
    """RFC 6960 section 4.2.2.2: clients accept nobody but whom the issuer itself authorised."""
    first = load(directory, now=now).ca.certificate
    rollover.prepare(directory, now=now)
    rollover.activate(directory, now=now)
    rollover.prepare(directory, now=now)
    assert rotate_ocsp(directory, now=now)
    material = load(directory, now=now)
    assert [one.certificate for one in material.previous] == [first]
    for ca in (first, material.ca.certificate, material.next.ca.certificate):
        signer = signer_of(directory, ca, now)
        assert signer.public_key() != ca.public_key()
        openssl.verify(signer, ca, at=now)
    due = now + OCSP_VALIDITY - OCSP_BEFORE
    before = [signer_of(directory, ca, due) for ca in (first, material.ca.certificate)]
    assert rotate_ocsp(directory, now=due)
    after = [signer_of(directory, ca, due) for ca in (first, material.ca.certificate)]
    assert set(before).isdisjoint(after)
    assert names(directory / "old/1") == ["ca-key.pem", "ca.pem", *FILES, "ra-key.pem", "ra.pem"]


def test_it_goes_along_with_its_ca(directory, now):
    """What a rollover or a rotation of the RA moves is not made anew."""
    first = load(directory, now=now).ca.certificate
    rollover.prepare(directory, now=now)
    rotate_ocsp(directory, now=now)
    second = load(directory, now=now).next.ca.certificate
    was = [signer_of(directory, ca, now) for ca in (first, second)]
    rotation.rotate_ra(directory, now=now, before=900 * DAY, validity=950 * DAY)
    assert [signer_of(directory, ca, now) for ca in (first, second)] == was
    rollover.activate(directory, now=now)
    assert [signer_of(directory, ca, now) for ca in (first, second)] == was
    assert not rotate_ocsp(directory, now=now)


def test_the_certificates_that_the_ca_issued_for_the_server(directory, now):
    material = load(directory, now=now)
    rotation.rotate_ra(directory, now=now, before=900 * DAY, validity=950 * DAY)
    (responder,) = set(_responders(directory, now).values())
    after = load(directory, now=now)
    assert responder.own_serials == {
        material.ra.certificate.serial_number,
        after.ra.certificate.serial_number,
    }


def test_where_the_ca_is_its_own_ra(tmp_path, now):
    founding.create(tmp_path, "single", now=now)
    (responder,) = set(_responders(tmp_path, now).values())
    assert responder.own_serials == frozenset()


def test_the_stamp_changes(directory, now):
    """A running server reads a new key without a restart."""
    before = paths.stamp(directory)
    rotate_ocsp(directory, now=now)
    assert paths.stamp(directory) != before


def test_of_several_processes_one_makes_it(directory, now, child):
    said = child("race", "ocsp", directory)
    assert sorted(said) == ["False"] * 5 + ["True"]
    assert signer_of(directory, load(directory, now=now).ca.certificate, now)


def test_killed_while_rotating(directory, now, killed):
    """Whatever is left, it can be loaded and answers; the next call makes it whole."""
    rotate_ocsp(directory, now=now - OCSP_VALIDITY)
    rollover.prepare(directory, now=now)
    material = load(directory, now=now)
    cas = [material.ca.certificate, material.next.ca.certificate]
    seen = set()
    for left in killed("ocsp", directory):
        assert load(left, now=now).chain == material.chain
        signers = [signer_of(left, ca, now) for ca in cas]
        seen.add(sum(one in cas for one in signers))
        assert founding.load_or_create(left, "ec", now=now).chain == material.chain
        rotate_ocsp(left, now=now)
        assert not {signer_of(left, ca, now) for ca in cas} & set(cas)
        assert not [one for one in names(left) if one.startswith(".") and one != ".ca.lock"]
        assert not rotate_ocsp(left, now=now)
    assert seen == {0, 1, 2}


def test_a_foreign_key_for_ocsp_is_not_taken(directory, now, make_ca):
    """Its certificate has to be of the very CA, not of one of that name."""
    other = make_ca(name="Other")
    write_key(directory / "ocsp-key.pem", other.private_key)
    made = ocsp.issue(other, other.private_key, now=now)
    write_certificate(directory / "ocsp.pem", made)
    ca = load(directory, now=now).ca.certificate
    assert signer_of(directory, ca, now) == ca
