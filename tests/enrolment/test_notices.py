"""What a rule cut of a granted request: told with the certificate, the same in every attempt."""

from __future__ import annotations

from datetime import timedelta

import pytest
from cryptography import x509

import der
import forge
import keys
from enrolment import devices
from scepkit.ca.profiles.requested_validity import PAIR
from scepkit.protocol import csr as pkcs10
from scepkit.protocol.algorithms import NO_LEGACY
from scepkit.protocol.scep.messages import PKCSReq
from scepkit.server.settings.profiles.format import ProfileSettings

DAY = timedelta(days=1)
PURPOSES = x509.ExtendedKeyUsage(
    [x509.ObjectIdentifier("1.3.6.1.5.5.7.3.3"), x509.ObjectIdentifier("1.3.6.1.5.5.7.3.2")]
)


@pytest.fixture
def use(world):
    """Make the endpoint issue by a profile, written as in scep.toml."""

    def use(**written):
        pytest.importorskip("jinja2", reason="pip install 'scepkit[profiles]'")
        world.use(profile=ProfileSettings(**written).compiled("vpn"))

    return use


def message(world, challenge, *, signer=None, extensions=(), **how):
    signer = signer or keys.device()
    values = [x509.Extension(value.oid, False, value) for value in extensions]
    wanted = devices.request(challenge, key=signer.key, extensions=values, **how)
    return devices.seal(PKCSReq(wanted), to=world.ra, signer=signer, transaction_id="one")


def decided(world, sent):
    """Return the notice of an answer that is stored."""
    step = world.endpoint.decide(sent)
    promise = world.endpoint.record(step)
    step = world.endpoint.conclude(step, None if promise is None else promise.result())
    return step.notice


def test_mostly_nothing_is_said(world):
    sent = message(world, world.challenge(), sans=["dns:a.example"])
    assert decided(world, sent) == ""
    assert decided(world, sent) == ""


def test_the_same_in_every_attempt(world, use):
    """Also by another process, and whatever the rules are by then; and to a poll."""
    use(names={"kinds": ["dns"]})
    signer = keys.device()
    sent = message(
        world,
        world.challenge(),
        signer=signer,
        sans=["dns:a.example", "uri:urn:b", "uri:urn:c"],
        extensions=[PURPOSES],
    )
    notice = "names.kinds;attribute=uri, allowed_eku;attribute=extKeyUsage"
    assert decided(world, sent) == notice
    use()
    assert decided(world, sent) == notice
    poll = devices.cert_poll(to=world.ra, signer=signer, transaction_id="one")
    assert decided(world, poll) == notice


def test_no_value_is_in_it(world, use):
    use(names={"kinds": ["dns"]}, subject={"O": {"fixed": "Example"}}, other_attributes="cut")
    sent = message(
        world,
        world.challenge(),
        subject="CN=hidden-cn,O=hidden-o,L=hidden-l",
        sans=["dns:a.example", "email:hidden@example.com"],
        extensions=[x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")],
    )
    told = decided(world, sent)
    assert told == (
        "names.kinds;attribute=email, copied_extensions;attribute=oid:1.2.3.4, "
        "other_attributes;attribute=L, subject.O.fixed;attribute=O, other_attributes;attribute=CN"
    )


def windows(world, number, unit="Days"):
    """Return a request for a validity, as Windows asks for it."""
    pairs = (("ValidityPeriod", unit), ("ValidityPeriodUnits", str(number)))
    attributes = [
        der.seq(PAIR, der.set_(der.seq(*(der.tlv(0x1E, one.encode("utf-16-be")) for one in pair))))
        for pair in pairs
    ]
    attributes.append(forge.challenge(world.challenge()))
    request = pkcs10.read(forge.csr(keys.device().key, attributes=attributes), NO_LEGACY)
    return devices.seal(PKCSReq(request), to=world.ra)


@pytest.mark.parametrize("mode", ["ignore", "shorten"])
@pytest.mark.parametrize(("days", "told"), [(5, ""), (3000, "validity;attribute=validity")])
def test_a_validity_that_was_asked_for(world, use, mode, days, told):
    """Longer than the profile's it is cut; a shorter one was never more than a wish."""
    use(validity="30d", requested_validity=mode)
    assert decided(world, windows(world, days)) == told


def test_more_years_than_there_are(world, use):
    """They are no wish that was granted, where the CA ends before the profile's validity, too."""
    use(validity="9999d", requested_validity="shorten")
    assert decided(world, windows(world, 9999, "Years")) == "ca;attribute=validity"


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ({"validity": "30d"}, ""),
        ({"validity": "9999d"}, "ca;attribute=validity"),
    ],
)
def test_a_shorter_validity(world, use, written, told):
    use(**written)
    assert decided(world, message(world, world.challenge())) == told


def test_a_fixed_end(world, use):
    end = world.now + 10 * DAY
    use(validity="30d", not_after=end)
    assert decided(world, message(world, world.challenge())) == "not_after;attribute=validity"


def test_after_an_approval(world, use):
    """What an operator approves later is told to the poll."""
    use(names={"kinds": ["dns"]})
    world.use(approval=True)
    signer = keys.device()
    sent = message(world, None, signer=signer, sans=["dns:a.example", "uri:urn:b"])
    assert decided(world, sent) == ""
    world.approval.approve(1, by="alice", now=world.now)
    poll = devices.cert_poll(to=world.ra, signer=signer, transaction_id="one")
    assert decided(world, poll) == "names.kinds;attribute=uri"


def test_a_refusal_has_none(world):
    assert decided(world, message(world, "no-such-challenge-4711")) == ""
