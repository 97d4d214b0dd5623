"""The list of devices: keys on it entitle, what is printed on a device narrows."""

from __future__ import annotations

import base64
from contextlib import nullcontext
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

import keys
from enrolment import devices
from enrolment.world import NAME
from scepkit.ca.profiles.profile import Profile
from scepkit.enrolment.challenges import REFUSED, NoChallenge
from scepkit.enrolment.challenges.devices import (
    DeviceList,
    ListedKeys,
    Narrowed,
    mac_address,
    serial_number,
)
from scepkit.enrolment.challenges.selection import ANY, Selected, Selection
from scepkit.errors import BadRequest, UsageError
from scepkit.operations import device_list
from scepkit.protocol.scep.messages import Pending, Success
from scepkit.server.settings.profiles.format import ProfileSettings
from scepkit.store import NewDevice

REFUSAL = ("badRequest", REFUSED)
KEY = devices.request().key_hash


def on_list(world, *new):
    world.store.import_devices(NAME, new, by="alice", now=world.now)


def listed(world, *by):
    return DeviceList(world.store, NAME, world.profile, by)


def use(world, selected, **how):
    """Let a rule judge all requests, those without a challenge, too."""

    def selection(_challenges):
        return Selection(((ANY, selected(world)),), selected(world))

    world.use(selection=selection, **how)


def by_key(world):
    return Selected(ListedKeys(listed(world, "key")))


def test_a_key_on_the_list_entitles_by_itself(world):
    use(world, by_key)
    stranger = keys.device("stranger")
    assert world.enrol().refusal == REFUSAL
    on_list(world, NewDevice(KEY))
    message = devices.pkcs_req(to=world.ra)
    first = world.ask(message)
    assert world.ask(message).certificate == first.certificate
    assert world.enrol(signer=stranger, transaction_id="b").refusal == REFUSAL
    assert world.enrol("typed-by-7Q4K", transaction_id="c").certificate
    world.store.remove_devices(NAME, [1], by="alice", now=world.now)
    assert world.enrol(transaction_id="d").refusal == REFUSAL
    assert world.ask(message).certificate == first.certificate  # its lost reply, all the same


def test_somebody_elses_request_is_not_that_devices(world):
    """Whoever signs has to have the key: a PKCS#10 can be recorded."""
    use(world, by_key)
    on_list(world, NewDevice(KEY))
    stranger = keys.device("stranger")
    reply = world.enrol(signer=stranger, key=keys.device().key)
    assert reply.refusal[0] == "badRequest"
    assert world.issued == 0


def test_a_row_binds_what_is_in_it(world):
    use(world, lambda w: Selected(ListedKeys(listed(w, "key", "hostname"))))
    on_list(world, NewDevice(KEY, hostname="a.example"), NewDevice(bytes(32), hostname="b.example"))
    for n, (names, is_issued) in enumerate(
        (
            (["dns:b.example"], False),
            (["dns:a.example", "dns:b.example"], False),
            ([], False),
            (["dns:A.example"], True),
        )
    ):
        reply = world.enrol(sans=names, transaction_id=f"t{n}")
        assert isinstance(reply.rep, Success) is is_issued, names


def test_a_device_with_an_expired_certificate_is_let_in_by_its_key(world):
    world.use(profile=replace(world.profile, validity=timedelta(days=1)))
    on_list(world, NewDevice(KEY))
    device = world.enrolled()
    world.now = device.x509.not_valid_after_utc + timedelta(hours=1)
    use(world, by_key)
    again = devices.renewal_req(to=world.ra, signer=device, kind=19, transaction_id="again")
    assert world.ask(again, device).certificate


def test_a_challenge_that_is_narrowed(world):
    """The challenge alone does not do, nor the serial number; no attempt burns the challenge."""
    on_list(world, NewDevice(serial_number="fcz1234"))
    secret, subject = world.challenge(), "serialNumber=FCZ1234,CN=x"

    def narrowed(world):
        return Selected(Narrowed(world.challenges, listed(world, "serial_number")))

    use(world, narrowed)
    assert world.enrol(secret, transaction_id="a").refusal == REFUSAL
    other = world.enrol(secret, subject="serialNumber=OTHER,CN=x", transaction_id="b")
    assert other.refusal == REFUSAL
    assert world.enrol("wrong", subject=subject, transaction_id="c").refusal == REFUSAL
    assert world.enrol(subject=subject, transaction_id="d").refusal == REFUSAL
    assert world.spent == 0
    assert world.enrol(secret, subject=subject, transaction_id="e").certificate
    assert world.spent == 1


def test_an_approval_that_is_narrowed(world):
    """An operator is asked about devices on the list only."""
    on_list(world, NewDevice(mac="001122aabbcc"))

    def narrowed(world):
        return Selected(Narrowed(NoChallenge(), listed(world, "mac")), waits=True)

    use(world, narrowed, approval=True)
    assert world.enrol(subject="CN=00:11:22:AA:BB:CD").refusal == REFUSAL
    waiting = world.enrol(subject="CN=00-11-22-AA-BB-CC", transaction_id="b")
    assert isinstance(waiting.rep, Pending)
    with_challenge = world.enrol("x", subject="CN=other", transaction_id="c")
    assert with_challenge.refusal == REFUSAL


def test_a_renewal_is_not_held_to_the_list(world):
    device = world.enrolled()
    use(world, by_key)
    assert world.renew(device, transaction_id="r").certificate


@pytest.mark.parametrize(
    ("column", "how", "is_there"),
    [
        ("serial_number", {"subject": "CN=x,serialNumber=aB1"}, True),
        ("serial_number", {"subject": "CN=aB1"}, False),
        ("serial_number", {"subject": "serialNumber=aB1,serialNumber=other"}, False),
        ("mac", {"subject": "CN=0011.22AA.bbcc"}, True),
        ("mac", {"subject": "UID=001122aabbcc,CN=host"}, True),
        ("mac", {"subject": "serialNumber=00:11:22:aa:bb:cc,CN=001122aabbcc"}, True),
        ("mac", {"subject": "serialNumber=00:11:22:aa:bb:cd,CN=001122aabbcc"}, False),
        ("mac", {"subject": "O=001122aabbcc"}, False),
        ("hostname", {"subject": "CN=host.example\u2003"}, False),
        ("hostname", {"subject": "CN=host.example."}, True),
        ("mac", {"subject": "CN=001122aabbccdd"}, False),
        ("hostname", {"subject": "CN=Host.example"}, True),
        ("hostname", {"subject": "CN=x", "sans": ["dns:host.EXAMPLE"]}, True),
        ("hostname", {"subject": "CN=host.example", "sans": ["dns:other.example"]}, False),
        ("hostname", {"subject": "CN=host.example", "sans": ["dns:host.example", "dns:b"]}, False),
        ("hostname", {"subject": "CN=host.example", "sans": ["ip:192.0.2.1"]}, True),
    ],
)
def test_what_of_a_request_is_compared(world, column, how, is_there):
    on_list(world, NewDevice(None, "ab1", "001122aabbcc", "host.example"))
    held = nullcontext() if is_there else pytest.raises(BadRequest)
    with held as refused:
        listed(world, column).check(devices.request(**how))
    assert is_there or refused.value.text == REFUSED


def test_a_letter_that_folds_into_ascii_is_another_one(world):
    """The Kelvin sign is no K, and would be in the certificate."""
    on_list(world, NewDevice(hostname="kiosk.example"))
    listed(world, "hostname").check(devices.request(subject="CN=Kiosk.example"))
    with pytest.raises(BadRequest):
        listed(world, "hostname").check(devices.request(subject="CN=\u212aiosk.example"))
    assert serial_number("\u212a1") != serial_number("K1")


CUTS = {
    "dns": Profile(san_types=frozenset({"ip"})),
    "cn": ProfileSettings(subject={"CN": {"fixed": "device"}}).compiled("p"),
    "others": ProfileSettings(subject={"CN": {"required": True}}, other_attributes="cut").compiled(
        "p"
    ),
}


@pytest.mark.parametrize(
    ("column", "cut", "how", "is_there"),
    [
        ("hostname", "dns", {"subject": "CN=evil.example", "sans": ["dns:host.example"]}, False),
        ("hostname", "dns", {"subject": "CN=host.example", "sans": ["dns:evil.example"]}, True),
        ("hostname", "cn", {"subject": "CN=host.example"}, False),
        ("hostname", "cn", {"subject": "CN=x", "sans": ["dns:host.example"]}, True),
        ("mac", "cn", {"subject": "CN=001122aabbcc"}, False),
        ("mac", "others", {"subject": "CN=001122aabbcc,UID=001122aabbcd"}, True),
        ("serial_number", "others", {"subject": "CN=x,serialNumber=aB1"}, False),
        ("serial_number", "cn", {"subject": "CN=x,serialNumber=aB1"}, True),
    ],
)
def test_what_the_certificate_would_not_show_is_not_compared(world, column, cut, how, is_there):
    """A name that the profile cuts lets nobody in under another one."""
    on_list(world, NewDevice(None, "ab1", "001122aabbcc", "host.example"))
    secret = world.challenge()

    def narrowed(world):
        return Selected(Narrowed(world.challenges, listed(world, column)))

    use(world, narrowed, profile=CUTS[cut])
    reply = world.enrol(secret, **how)
    assert isinstance(reply.rep, Success) is is_there
    assert is_there or reply.refusal == REFUSAL


# --- the file -------------------------------------------------------------------------------------


def read(text):
    return device_list.read(text.encode() if isinstance(text, str) else text)


def test_a_file():
    hexed, encoded = KEY.hex(), base64.b64encode(KEY).decode()
    text = (
        "\ufeffHostname,KEY,mac,Serial number,label\r\n"
        f"Host.Example.,{hexed.upper()},00-11-22-AA-BB-CC, FCZ1 ,rack 7\r\n"
        "\r\n"
        f",sha256:{hexed},,,\r\n"
        f',{encoded},,,"a, b"\r\n'
    )
    assert read(text) == [
        NewDevice(KEY, "fcz1", "001122aabbcc", "host.example", "rack 7"),
        NewDevice(KEY),
        NewDevice(KEY, label="a, b"),
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "there is no row"),
        ("key\n", "there is no row"),
        ("keys\nx\n", "line 1: unknown column 'keys'"),
        ("mac,MAC\n", "line 1: the column mac comes twice"),
        ("label\nx\n", "line 1: no column says which device it is"),
        ("mac,label\n,x\n", "line 2: it says nothing by which the device is known"),
        ("mac\n00:11\n", "line 2: mac: it is no MAC address"),
        ("key\nabc\n", "line 2: key: it is no SHA-256 of a public key"),
        ("key\n" + "a" * 300, "line 2: key: it has 300 characters"),
        ("hostname\nhttp://x/\n", "line 2: hostname: "),
        ("mac,label\n001122334455\n", "line 2: it has 1 cells, but the header has 2"),
        ('mac\n"00\n', "line 2: this is not CSV"),
        (b"mac\n\xff\n", "line 2: this is not UTF-8"),
        ("mac\nx\n001122334455\ny\n", "line 2: mac: it is no MAC address; line 4: mac:"),
    ],
)
def test_what_is_wrong_is_said_by_line(text, said):
    with pytest.raises(UsageError) as caught:
        read(text)
    assert said in caught.value.message
    assert caught.value.hint


def test_a_file_has_a_bound(monkeypatch):
    monkeypatch.setattr(device_list, "MAX_ROWS", 2)
    assert len(read("serial_number\na\nb\n")) == 2
    with pytest.raises(UsageError, match="more than 2 rows"):
        read("serial_number\na\nb\nc\n")


@given(
    st.binary(max_size=200) | st.text(max_size=200).map(lambda text: f"mac,key\n{text}".encode())
)
def test_anything_is_a_list_or_an_error(content):
    try:
        found = device_list.read(content)
    except UsageError:
        return
    assert all(one.key or one.mac for one in found)


@given(st.text(max_size=30))
def test_a_mac_address_or_none(text):
    found = mac_address(text)
    assert found is None or mac_address(found) == found
