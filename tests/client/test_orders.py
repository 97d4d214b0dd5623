"""What is sent, before it is sent: keys, the self-signed signer, the request."""

from __future__ import annotations

from datetime import timedelta

import pytest
from cryptography import x509

import keys
from scepkit.client import orders
from scepkit.client.keys import check_spec, generate_key, self_signed
from scepkit.errors import UsageError

KEY = keys.rsa_key("client")


def make(subject="CN=dev1", key=KEY, **how):
    return orders.make(key, subject, now=keys.NOW, **how)


@pytest.mark.rfc("S-2.3-1", "S-2.3-2", "S-2.3-3")
def test_the_signer(openssl):
    """Self-signed, with the request's subject and key, for signatures and key encipherment."""
    order = make("CN=dev1,O=Example")
    certificate = order.signer.certificate.x509()
    certificate.verify_directly_issued_by(certificate)
    assert certificate.subject == order.request.csr.subject
    assert certificate.public_key() == order.request.csr.public_key
    usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    assert usage == keys.usage("digital_signature", "key_encipherment")


def test_the_signer_is_valid_for_a_wrong_clock_and_a_slow_approval():
    certificate = make().signer.certificate.x509()
    assert certificate.not_valid_before_utc == keys.NOW - timedelta(days=1)
    assert certificate.not_valid_after_utc == keys.NOW + timedelta(days=30)


def test_a_later_signer_of_the_same_key_can_read_the_reply_to_an_earlier_one():
    one = self_signed(KEY, keys.name("dev1"), keys.NOW).certificate
    two = self_signed(KEY, keys.name("dev1"), keys.NOW + timedelta(days=3)).certificate
    assert (one.issuer, one.serial_number) == (two.issuer, two.serial_number)
    assert one.serial > 0


def test_the_same_order_is_the_same_transaction():
    one, two = make(challenge="a", names=["dev1"]), make(challenge="a", names=["dev1"])
    assert one.request.csr.der == two.request.csr.der
    assert one.transaction_id == two.transaction_id


@pytest.mark.rfc("P-12", "S-3.2.1.1-1")
@pytest.mark.parametrize(
    "other",
    [
        {"subject": "CN=dev2"},
        {"challenge": "b"},
        {"names": ["dev2"]},
        {"key": keys.rsa_key("another")},
    ],
)
def test_another_order_is_another_transaction(other):
    """The transactionID is unique for each transaction, and plain hex."""
    one, two = make(challenge="a", names=["dev1"]), make(**{"challenge": "a"} | other)
    assert one.transaction_id != two.transaction_id
    assert len(bytes.fromhex(str(one.transaction_id))) == 16


@pytest.mark.rfc("S-2.4-1")
def test_the_challenge_is_in_the_request_and_nowhere_else():
    """The challengePassword goes into the PKCS#10 of an initial enrolment."""
    order = make(challenge="hunter2")
    assert order.request.csr.challenge_password == "hunter2"
    assert "hunter2" not in repr(order)
    assert b"hunter2" not in order.signer.certificate.der


@pytest.mark.parametrize("bits", [2048, 3072])
def test_a_key_is_of_the_size_that_was_asked_for(bits):
    assert generate_key(f"rsa:{bits}").key_size == bits


@pytest.mark.parametrize("spec", ["rsa:1024", "rsa", "dsa:2048", "", "rsa:2048 "])
def test_another_kind_of_key(spec):
    with pytest.raises(UsageError, match="cannot make a key") as caught:
        check_spec(spec)
    assert caught.value.hint == "one of rsa:2048, rsa:3072, rsa:4096"


def test_ec_keys_come_later():
    with pytest.raises(UsageError, match="EC keys are not supported yet"):
        generate_key("ec:p256")
