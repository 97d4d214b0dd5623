"""Keys that get no certificate: which are found to be weak, and what a list of them is like."""

from __future__ import annotations

import hashlib
import random
import sys
from contextlib import suppress

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given
from hypothesis import strategies as st

import keys
from scepkit.ca.profiles import blocklist as blocklists
from scepkit.ca.profiles.blocklist import Blocklist, lines_of
from scepkit.ca.profiles.key_rules import KeyRules, weaknesses
from scepkit.errors import BadRequest, SettingsError

WEAK = {
    "fermat": "has primes that lie close together",
    "roca": "comes from a faulty generator (ROCA)",
    "sharedprimes": "shares a prime with other keys",
    "smallfactors": "has a small factor",
}
_ROCA = 0x924CBA6AE99DFA084537FACC54948DF0C23DA044D8CABE0EDD75BC6


def digest_of(key):
    return hashlib.sha256(keys.spki(key)).digest()


def blocklist(*lines):
    return Blocklist.read("weak.txt", [line.encode() for line in lines])


class Public:
    """A public key of numbers that nobody has to be able to sign with."""

    def __init__(self, n, e=65537):
        self.key = rsa.RSAPublicNumbers(e, n).public_key()

    def public_key(self):
        return self.key


@pytest.fixture(scope="module")
def weak():
    """Return the modulus of a key of 2048 bits with a weakness, by its name."""
    gmpy2 = pytest.importorskip("gmpy2", reason="pip install 'scepkit[badkeys]'")
    drawn = random.Random(16)

    def prime(bits=1024):
        return int(gmpy2.next_prime(drawn.getrandbits(bits) | 3 << (bits - 2)))

    def of_roca():
        while True:
            found = (drawn.getrandbits(804) | 3 << 803) * _ROCA + pow(
                65537, drawn.getrandbits(60), _ROCA
            )
            if gmpy2.is_prime(found):
                return found

    close = prime()
    shared = prime()
    return {
        "fermat": close * int(gmpy2.next_prime(close + (1 << 500))),
        "roca": of_roca() * of_roca(),
        "sharedprimes": shared * prime(),
        "smallfactors": 65521 * prime(2032),
        "shared": shared,
    }


@pytest.fixture
def shared(weak, monkeypatch):
    """Have badkeys know a prime that others have used: nobody can factor those that it knows."""
    gmpy2 = pytest.importorskip("gmpy2")
    pytest.importorskip("badkeys", reason="pip install 'scepkit[badkeys]'")
    known = sys.modules["badkeys.rsakeys.sharedprimes"]._moduli
    weaknesses()
    monkeypatch.setitem(known, 2048, known[2048] * gmpy2.mpz(weak["shared"]))


@pytest.mark.parametrize("name", WEAK)
def test_a_weak_key_is_refused(weak, shared, name):
    key = Public(weak[name]).key
    tests = weaknesses()
    with pytest.raises(BadRequest) as refused:
        KeyRules("vpn", None, tests).check(key, b"")
    said = f"the key {WEAK[name]} (key.weak of the profile 'vpn')"
    assert refused.value.message == said
    # It is that test which finds it.
    KeyRules("vpn", None, tuple(one for one in tests if one[0] != WEAK[name])).check(key, b"")


@pytest.mark.parametrize(
    "key", [keys.rsa_key(), keys.rsa_key("large", 3072), keys.ec_key(), keys.ed25519_key()]
)
def test_an_ordinary_key_passes(key):
    pytest.importorskip("badkeys", reason="pip install 'scepkit[badkeys]'")
    other = blocklist(digest_of(keys.ec_key("other")).hex())
    KeyRules("vpn", other, weaknesses()).check(key.public_key(), keys.spki(key))


@given(st.integers(1 << 1023, (1 << 4096) - 1), st.sampled_from([3, 17, 65537, (1 << 64) + 1]))
def test_no_modulus_makes_the_checks_fail(modulus, exponent):
    """Whatever is there in place of a product of two primes: an answer, and no other exception."""
    pytest.importorskip("badkeys", reason="pip install 'scepkit[badkeys]'")
    rule = KeyRules("vpn", None, weaknesses())
    with suppress(BadRequest):
        rule.check(Public(modulus | 1, exponent).key, b"")


# --- lists ----------------------------------------------------------------------------------------


def test_a_key_on_the_list_is_refused():
    listed, other = keys.ec_key("listed"), keys.ec_key("free")
    colons = digest_of(keys.rsa_key()).hex(":").upper()
    found = blocklist("# lost laptops", "", f"{digest_of(listed).hex()}  # al's", f"  {colons}\r")
    rule = KeyRules("vpn", found)
    for key in (listed, keys.rsa_key()):
        with pytest.raises(
            BadRequest, match=r"the key is blocked \(key.blocklist of the profile 'vpn'"
        ):
            rule.check(key.public_key(), keys.spki(key))
    rule.check(other.public_key(), keys.spki(other))


@pytest.mark.parametrize(
    ("lines", "at"),
    [
        (["ab" * 32, "ab" * 31], 2),
        (["ab" * 33], 1),
        (["#", "no digest"], 2),
        (["ab" * 31 + "a\u0661"], 1),
        (["\x1b[2J" * 9], 1),
        (["a" * 5000], 1),
    ],
)
def test_a_line_that_is_none_is_named(lines, at):
    with pytest.raises(SettingsError, match=rf"^weak.txt, line {at}: no SHA-256"):
        blocklist(*lines)


def test_a_list_has_an_end(monkeypatch):
    monkeypatch.setattr(blocklists, "MOST", 2)
    assert len(blocklist("00" * 32, "11" * 32)) == 2
    with pytest.raises(SettingsError, match=r"weak\.txt has more than 2 keys"):
        blocklist("00" * 32, "11" * 32, "22" * 32)


def test_a_line_without_an_end_is_not_read_whole(tmp_path):
    path = tmp_path / "weak.txt"
    path.write_bytes(b"a" * 100_000)
    with path.open("rb") as file:
        assert max(map(len, lines_of(file))) <= 4096


@given(
    st.lists(st.binary(min_size=32, max_size=32), max_size=40), st.binary(min_size=32, max_size=32)
)
def test_what_is_on_a_list_and_nothing_else(digests, other):
    found = blocklist(*(one.hex() for one in digests))
    assert all(one in found for one in digests)
    assert (other in found) == (other[:16] in {one[:16] for one in digests})
    assert len(found) == len({one[:16] for one in digests})
