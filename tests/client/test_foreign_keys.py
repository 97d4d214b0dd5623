"""Keys that are not the library's own and cannot be exported: in an HSM, a TPM, a service."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

import keys
from pair import grant
from scepkit import Pending, StillPending
from scepkit.client import clock, prepared_request
from scepkit.client import keys as client_keys
from scepkit.errors import SettingsError
from scepkit.protocol.scep.transaction import Limits


def refuse(*_, **__):
    raise TypeError("this key does not leave its device")


class Kept(rsa.RSAPrivateKey):
    """An RSA key that signs and decrypts, and never shows itself."""

    def __init__(self, key):
        self._key = key

    key_size = property(lambda self: self._key.key_size)
    private_bytes = private_numbers = __copy__ = __deepcopy__ = refuse

    def public_key(self):
        return self._key.public_key()

    def sign(self, data, padding, algorithm):
        return self._key.sign(data, padding, algorithm)

    def decrypt(self, ciphertext, padding):
        return self._key.decrypt(ciphertext, padding)


class KeptEC(ec.EllipticCurvePrivateKey):
    """An EC key that signs, each time anew, whatever it is asked for."""

    def __init__(self, key):
        self._key = key

    key_size = property(lambda self: self._key.key_size)
    curve = property(lambda self: self._key.curve)
    private_bytes = private_numbers = __copy__ = __deepcopy__ = refuse

    def public_key(self):
        return self._key.public_key()

    def exchange(self, algorithm, peer_public_key):
        return self._key.exchange(algorithm, peer_public_key)

    def sign(self, data, signature_algorithm):
        return self._key.sign(data, ec.ECDSA(signature_algorithm.algorithm))


def foreign(sort, name="kept"):
    if sort == "rsa":
        return Kept(keys.rsa_key(name))
    return KeptEC(ec.generate_private_key(ec.SECP256R1()))


def transaction_id(key, **how):
    return prepared_request.prepare(key, "CN=dev1", now=clock.now(), **how).transaction_id


@pytest.mark.parametrize("sort", ["rsa", "ec"])
def test_a_key_that_cannot_be_exported_enrols_and_renews(serve, connect, sort):
    site = serve(grant)
    client, key, following = connect(site), foreign(sort), foreign(sort, "kept-next")
    ca = client.get_ca(site.fingerprint)
    issued = client.enrol(ca, key, "CN=dev1", names=["dev1.example"], challenge="secret")
    renewed = client.renew(ca, key, issued.certificate, following, challenge="secret")
    assert renewed.certificate.public_key == following.public_key()


def test_a_key_that_cannot_be_exported_goes_on_with_its_request(serve, connect):
    site, key = serve(Pending(), grant), foreign("rsa")
    client = connect(site, limits=Limits(max_wait=0))
    ca = client.get_ca(site.fingerprint)
    made = prepared_request.prepare(key, "CN=dev1", challenge="secret", now=clock.now())
    with pytest.raises(StillPending):
        client.submit(ca, made)
    assert client.resume(ca, made).certificate.public_key == key.public_key()


@pytest.mark.parametrize("sort", ["rsa", "ec"])
def test_the_same_request_is_the_same_transaction(sort):
    key, other = foreign(sort), foreign(sort, "kept-other")
    found = transaction_id(key, challenge="secret")
    assert found == transaction_id(key, challenge="secret")
    assert found != transaction_id(key, names=["dev1.example"], challenge="secret")
    assert found != transaction_id(other, challenge="secret")


def test_another_challenge_is_another_transaction_where_only_the_key_can_tell_them_apart():
    key, randomised = foreign("rsa"), foreign("ec")
    assert transaction_id(key, challenge="one") != transaction_id(key, challenge="two")
    # Signatures that are never the same could not hide the challenge and repeat themselves, too.
    assert transaction_id(randomised, challenge="1") == transaction_id(randomised, challenge="2")


def test_a_file_that_does_not_end_is_no_key():
    with pytest.raises(SettingsError, match="/dev/zero has more than"):
        client_keys.read_foreign_key(Path("/dev/zero"), refuse)
