"""A secret for all devices: how one is made, and how hard it is to guess."""

from __future__ import annotations

import base64
import random
import string

import pytest

from scepkit.enrolment.challenges import static


@pytest.mark.parametrize(("bits", "length"), [(80, 16), (81, 17), (160, 32), (1275, 255)])
def test_a_fresh_secret_has_as_many_bits_as_are_wanted(bits, length):
    """Five a character, rounded up; and what is made is not warned of."""
    made = {static.new(bits) for _ in range(500)}
    assert len(made) == 500
    assert {len(one) for one in made} == {length}
    assert all(static.estimate_bits(one) >= 80 for one in made)


def test_a_fresh_secret_can_be_typed():
    """Every string type holds it, and nothing in it looks like something else."""
    used = set("".join(static.new(1275) for _ in range(20)))
    assert len(used) == 32
    assert used <= set(string.ascii_lowercase + string.digits) - set("01lo")


@pytest.mark.parametrize(
    ("secret", "bits"),
    [
        ("12345678", 26),
        ("password", 37),
        ("Passw0rd!", 59),
        ("z" * 200, 18),
        ("yz" * 100, 37),
        ("deadbeefdead", 48),
        ("DEADBEEFDEAD", 48),
        ("0123456789abcdefABCD", 119),
        ("ééé", 15),
        ("", 0),
    ],
)
def test_an_estimate_is_of_length_and_kinds_of_characters(secret, bits):
    """A character counts four times at most, hex digits of one case alone count as such."""
    assert int(static.estimate_bits(secret)) == bits


@pytest.mark.parametrize(
    "make",
    [
        lambda chance: chance.randbytes(20).hex(),
        lambda chance: base64.urlsafe_b64encode(chance.randbytes(20)).decode(),
        lambda chance: str(chance.randrange(10**39, 10**40)),
    ],
    ids=["hex", "base64", "decimal"],
)
def test_what_a_machine_made_is_not_warned_of(make):
    """Some 130 random bits or more, in whatever alphabet."""
    chance = random.Random(8894)
    assert all(static.estimate_bits(make(chance)) >= 80 for _ in range(200))
