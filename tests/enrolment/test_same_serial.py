"""Two CAs of one server that have issued the same serial number, as imported ones do."""

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

import keys
from enrolment import devices
from enrolment.world import CA
from scepkit.ca import authority
from scepkit.ca.authority import Authority
from scepkit.enrolment.issuers import Issuers, IssuingCA
from scepkit.enrolment.rules import GetCertRule
from scepkit.errors import UsageError
from scepkit.operations import renewal_chain, revocation, search, selection
from scepkit.protocol.crl import Reason
from scepkit.store import CertificateKey

NEW = keys.certify(
    "Test CA 2",
    keys.rsa_key("ca 2"),
    ca=True,
    key_usage=keys.usage("digital_signature", "key_cert_sign", "crl_sign"),
)
NEW_CA = Authority(NEW.x509, NEW.key)
NAMES = [CertificateKey(1, one.key_hash) for one in (CA, NEW_CA)]


@pytest.fixture
def both(world, monkeypatch):
    """Enrol a device with each CA, the new one in force at last; both get the number 1."""
    monkeypatch.setattr(authority, "random_serial", lambda: 1)
    first = world.enrolled("first")
    ra = keys.ra().credential
    world.use(issuers=Issuers([IssuingCA(NEW_CA, (ra,))], [CA]))
    second = world.enrolled("second")
    monkeypatch.undo()
    assert [one.x509.serial_number for one in (first, second)] == [1, 1]
    assert first.x509.issuer != second.x509.issuer
    return first, second


def test_each_gets_its_own_again(world, both):
    """GetCert, and the same request again."""
    world.use(get_cert=GetCertRule.ALL)
    for name, holder in zip(("first", "second"), both, strict=True):
        issuer = holder.x509.issuer.public_bytes()
        message = devices.get_cert(to=world.ra, signer=holder, serial=1, issuer=issuer)
        assert world.ask(message, holder).x509 == holder.x509
        assert keys.device(name).key.public_key() == holder.x509.public_key()


def test_each_renews_its_own(world, both):
    renewed = [
        world.renew(one, transaction_id=name, subject=f"CN={name}").x509
        for name, one in zip(("first", "second"), both, strict=True)
    ]
    for old, new in zip(NAMES, renewed, strict=True):
        (row,) = world.store.certificates_with(new.serial_number)
        assert row.renewed == old
        chain = world.store.renewal_chains([row.key])
        assert [one.key for one in chain] == [old, row.key]
        (link, _) = renewal_chain.links(chain, world.now)
        assert not link.is_current


def test_one_is_revoked(world, both):
    first, second = both
    assert revocation.revoke(
        world.store, NAMES[0], reason=Reason.keyCompromise, by="al", now=world.now
    ).is_new
    assert world.renew(first, transaction_id="x", subject="CN=first").refusal is not None
    assert world.renew(second, transaction_id="y", subject="CN=second").certificate
    for ca, count in ((CA, 1), (NEW_CA, 0)):
        row = revocation.current_crl(
            world.store, ca, now=world.now, lifetime=world.rules.crl_lifetime
        )
        assert len(x509.load_der_x509_crl(row.der)) == count
        status = world.store.ocsp_statuses(ca.key_hash, [1])[1]
        assert (status.revoked_at is not None) == (count == 1)


def test_an_operator_says_which(world, both):
    with pytest.raises(UsageError) as refused:
        selection.by_serial(world.store, ["1"])
    for key, holder in zip(NAMES, ("CN=first", "CN=second"), strict=True):
        name = f"01@{key.issuer.hex()[:8]}"
        assert f"{name} ({holder})" in refused.value.message
        (row,) = selection.by_serial(world.store, [name])
        assert row.key == key
        (row,) = selection.by_list(world.store, f"0x1@{key.issuer.hex().upper()}\n".encode(), "f")
        assert row.key == key
    for text in ("1@", "1@xyz", "1@123"):
        with pytest.raises(UsageError, match="names no CA"):
            selection.by_serial(world.store, [text])
    with pytest.raises(UsageError, match="no certificate with the serial number 1@0000 was issued"):
        selection.by_serial(world.store, ["1@0000"])


def test_a_file_names_the_certificate_in_it(world, both):
    for key, holder in zip(NAMES, both, strict=True):
        pem = holder.x509.public_bytes(Encoding.PEM)
        assert selection.by_certificate(world.store, pem, "f").key == key


def test_a_list_of_either(world, both):
    for own, holder in zip(NAMES, both, strict=True):
        number, issuer = selection.parse_named(f"01@{own.issuer.hex()[:8]}")
        query = search.Query(serial=number, issuer=issuer)
        (found,) = search.everything(world.store, query, now=world.now, limit=2)
        assert found.row.der == holder.x509.public_bytes(Encoding.DER)
    assert len([*search.everything(world.store, search.Query(serial=1), now=world.now)]) == 2
