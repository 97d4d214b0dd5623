"""The webhook SCEPChallenge of Jamf Pro and Fleet: their events, and what is refused."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from enrolment import devices
from scepkit.errors import HTTPRefused, SettingsError, UsageError
from scepkit.protocol.distinguished_name import Name
from scepkit.protocol.scep.messages import Failure, Success
from scepkit.server import settings
from scepkit.server.directory import data_directory
from scepkit.server.doors import jamf_event
from scepkit.server.doors.jamf import PROBE_ANSWER
from scepkit.server.doors.wrong_passwords import PER_MINUTE
from scepkit.server.endpoints.assembly import assemble
from scepkit.server.settings.doors import JamfSettings
from scepkit.store import Store
from server import socketless
from server.door_knocking import basic, bounded, endpoint, knock, stored_challenges
from server.test_app import recipient, run

DOOR = "/scep/default/challenge/jamf"
SECRET = "Wuchtgeschoss-17-Nord"
DEVICE = {
    "serialNumber": "C02XK1",
    "udid": "0000-AB",
    "deviceName": "Anna's Mac",
    "username": "anna",
}


def event(device=DEVICE, *, at=None, name="SCEPChallenge", key="targetDevice"):
    """Return what Jamf Pro posts."""
    at = datetime.now(UTC) if at is None else at
    return {
        "webhook": {
            "id": 1,
            "name": "SCEP",
            "webhookEvent": name,
            "eventTimestamp": int(at.timestamp() * 1000),
        },
        "event": {
            "scepServerUrl": "https://scep.example.com/scep",
            "payloadIdentifier": "CDB0BC64-F3EB-4B1A-AA5E-9A5D994CA593",
            "payloadTypes": ["com.apple.security.scep"],
            **({} if device is None else {key: device}),
        },
    }


def of_fleet(device):
    """Return what Fleet posts: the time in seconds, the device by other names."""
    wanted = event(device, key="device")
    wanted["webhook"]["eventTimestamp"] //= 1000
    return wanted


def in_xml(wanted):
    """Return an event as Jamf Pro writes it in XML."""

    def elements(name, value):
        if isinstance(value, dict):
            inside = "".join(elements(*one) for one in value.items())
        elif isinstance(value, list):
            return "".join(elements(name, one) for one in value)
        else:
            inside = str(value).replace("&", "&amp;").replace("<", "&lt;")
        return f"<{name}>{inside}</{name}>"

    return f'<?xml version="1.0" encoding="UTF-8"?>{elements("JSSEvent", wanted)}'.encode()


def post(wanted, *, headers=None, kind="application/json", **how):
    """Return a request with an event."""
    body = wanted if isinstance(wanted, bytes) else json.dumps(wanted).encode()
    sent = basic("jamf", SECRET) if headers is None else headers
    return knock(DOOR, sent, [("Content-Type", kind)], method="POST", body=body, **how)


@pytest.fixture
def opened(app):
    """Return a server with the webhook, and its directory."""

    def opened(more_of_endpoint=None, **how):
        door = {"user": "jamf", "password_file": "jamf.txt"} | how
        door = {name: value for name, value in door.items() if value is not None}
        server_settings = endpoint(jamf=JamfSettings(**door), **more_of_endpoint or {})
        return app(endpoint=server_settings, files={"jamf.txt": SECRET})

    return opened


# --- events ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (event(), "application/json"),
        (event(), "application/json; charset=utf-8"),
        (event(), ""),
        (in_xml(event()), "text/xml"),
        (in_xml(event()), "application/xml;charset=UTF-8"),
        (in_xml(event()), ""),
        (of_fleet(DEVICE), "application/json"),
    ],
)
def test_the_answer_is_the_challenge_and_nothing_else(opened, body, kind):
    server, path = opened()
    (answer,) = run(server, post(body, kind=kind))
    assert answer.status == 200, answer.body
    assert answer.headers["content-type"] == "text/plain"
    assert answer.headers["cache-control"] == "no-store"
    assert len(answer.body) == 32
    assert answer.body.isalnum()
    (made,) = stored_challenges(path)
    assert made.label == "C02XK1"
    assert dict(made.data) == {
        "serial_number": "C02XK1",
        "udid": "0000-AB",
        "device_name": "Anna's Mac",
        "username": "anna",
    }


LATIN = in_xml(event({"serialNumber": "Ä1"})).decode().replace("UTF-8", "ISO-8859-1")
UNDECLARED = LATIN.partition("?>")[2]


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (LATIN.encode("latin-1"), "text/xml"),
        (LATIN.replace("ISO-8859-1", "windows-1252").encode("cp1252"), "text/xml"),
        (UNDECLARED.encode("latin-1"), "text/xml; charset=ISO-8859-1"),
        (UNDECLARED.encode("latin-1"), 'application/xml;CHARSET="iso-8859-1"'),
        # The media type says more than the XML does, and a byte order mark more than both.
        (LATIN.encode(), "text/xml; charset=utf-8"),
        (UNDECLARED.encode("utf-8-sig"), "text/xml; charset=iso-8859-1"),
        (UNDECLARED.encode("utf-16"), "text/xml; charset=utf-8"),
        (UNDECLARED.encode("utf-8-sig"), ""),
        (UNDECLARED.encode("utf-16"), ""),
        (json.dumps(event({"serialNumber": "Ä1"})).encode("utf-8-sig"), ""),
    ],
)
def test_an_event_in_any_charset_that_it_may_have_is_read(body, kind):
    """RFC 7303 section 3."""
    assert jamf_event.read(body, kind).device == {"serial_number": "Ä1"}


@pytest.mark.parametrize("charset", ["x-none", "base64", "utf-7", '"\0"', "idna"])
def test_an_event_in_a_charset_that_is_none_is_refused(charset):
    with pytest.raises(HTTPRefused) as refused:
        jamf_event.read(UNDECLARED.encode(), f"text/xml; charset={charset}")
    assert refused.value.status == 400


def test_a_challenge_is_for_its_device_alone(opened):
    server, path = opened(subject="CN={serial_number},O=Example", sans=("uri:urn:udid:{udid}",))
    ra = recipient(path)

    async def session():
        async with socketless.lifespan(server):
            secret = (await socketless.ask(server, **post(event()))).body.decode()
            asked = [
                devices.pkcs_req(secret, to=ra, subject=subject, sans=sans, transaction_id=name)
                for name, subject, sans in (
                    ("a", "CN=C02XK2,O=Example", []),
                    ("b", "CN=C02XK1,O=Example", ["uri:urn:udid:0000-AC"]),
                    ("c", "CN=C02XK1,O=Example", ["uri:urn:udid:0000-AB"]),
                )
            ]
            target = "/scep?operation=PKIOperation"
            return [await socketless.ask(server, target, "POST", one) for one in asked]

    *others, own = (devices.read(one.body, ra).rep for one in asyncio.run(session()))
    assert all(isinstance(one, Failure) for one in others)
    assert isinstance(own, Success)


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("serialNumber", "serial_number"),
        ("serial_number", "serial_number"),
        ("SerialNumber", "serial_number"),
        ("UDID", "udid"),
        ("jssID", "jss_id"),
        ("macAddress2", "mac_address2"),
        ("osVersion", "os_version"),
        ("Größe", None),
        ("1st", None),
        ("x" * 33, None),
    ],
)
def test_the_names_of_what_is_known_of_a_device(key, name):
    found = jamf_event.read(json.dumps(event({key: "a"})).encode(), "")
    assert found.device == ({} if name is None else {name: "a"})


@pytest.mark.parametrize("value", ["a,O=Evil", "a+CN=b", 'a"b', "a\\2c", "#04", " a ", "ä<>;="])
def test_no_value_of_a_device_writes_another_name(opened, value):
    server, path = opened(subject="CN={serial_number},O=Example")
    (answer,) = run(server, post(event({"serialNumber": value})))
    assert answer.status == 200, answer.body
    found = Name.parse(stored_challenges(path)[0].subject)
    texts = [(one.label, one.text()) for rdn in found.rdns for one in rdn]
    assert sorted(texts) == [("CN", value.strip()), ("O", "Example")]


def door(template):
    return JamfSettings(user="a", password_file="b", subject="CN=a", sans=(template,))


@pytest.mark.parametrize(
    ("template", "value", "name"),
    [
        ("dirname:CN={device_name},O=a", "x,OU=b+UID=c", "dir:CN=x\\,OU=b\\+UID=c,O=a"),
        ("dir:CN={device_name}", "#04", "dir:CN=\\#04"),
        (
            "uri:https://{device_name}.a.example/",
            "evil.test/",
            "uri:https://evil.test%2F.a.example/",
        ),
        ("https://{device_name}.a.example/", "a#b", "uri:https://a%23b.a.example/"),
        ("uri:urn:udid:{device_name}", "a:b", "uri:urn:udid:a%3Ab"),
        ("{device_name}.example.com", "a.b", "dns:a.b.example.com"),
        ("{device_name}@example.com", "anna", "email:anna@example.com"),
        ("upn:{device_name}@corp.example", "anna", "upn:anna@corp.example"),
        ("upn:{device_name}", "anna@corp.example", "upn:anna@corp.example"),
        ("ip:{device_name}", "2001:db8::1", "ip:2001:db8::1"),
        ("ip:192.0.2.{device_name}", "7", "ip:192.0.2.7"),
    ],
)
def test_an_alternative_name_has_the_kind_and_the_form_of_its_template(template, value, name):
    assert door(template).order({"device_name": value}).sans == (name,)


@pytest.mark.parametrize(
    ("template", "value"),
    [
        ("{device_name}.example.com", "upn:administrator@corp.example#"),
        ("dns:{device_name}.example.com", "*"),
        ("dns:{device_name}", "a..b"),
        ("dns:{device_name}", "\u212aiosk"),
        ("{device_name}@example.com", "administrator@corp.example,"),
        ("upn:{device_name}@corp.example", "administrator@corp.example"),
        ("email:{device_name}", "a@b@c.example"),
        ("ip:2001:db8::{device_name}", "1:2:3:4"),
    ],
)
def test_a_value_that_would_be_more_than_a_part_of_a_name_is_refused(template, value):
    with pytest.raises(UsageError, match="device_name has characters that cannot be in") as caught:
        door(template).order({"device_name": value})
    assert value not in caught.value.message


@pytest.mark.parametrize("template", ["{device_name}", "{a}:{b}", "urn:udid:{udid}"])
def test_a_name_whose_kind_only_a_device_would_say_is_refused(template):
    with pytest.raises(ValidationError, match="needs its kind before it"):
        door(template)


@pytest.mark.parametrize(
    "device",
    [
        None,
        {},
        {"udid": "0000-AB"},
        {"serialNumber": ""},
        {"serialNumber": None},
        {"serialNumber": True},
        {"serialNumber": ["C02XK1", "C02XK2"]},
        {"serialNumber": "C02XK1", "computer": {"serial_number": "C02XK2"}},
        {"serialNumber": "a\nb"},
        {"serialNumber": "Anna\u00a0Mac"},
        {"serialNumber": "x" * 1001},
        "C02XK1",
    ],
)
@pytest.mark.parametrize("how", [{"require": ["serial_number"]}, {"subject": "CN={serial_number}"}])
def test_without_the_device_that_the_rule_demands_there_is_no_challenge(opened, device, how):
    server, path = opened(**how)
    (answer,) = run(server, post(event(device)))
    assert answer.status == 422
    assert b"characters that no name or list can show: serial_number" in answer.body
    assert not stored_challenges(path)


def test_what_the_rule_demands_is_looked_for_among_all_that_is_said(opened):
    """Of what else is known of a device as much is kept as a challenge may have."""
    server, path = opened(subject="CN={serial_number}", require=["udid"])
    many = {f"field{number}": "x" for number in range(150)}
    (answer,) = run(server, post(event({**many, "serialNumber": "C02XK1", "udid": "0000-AB"})))
    assert answer.status == 200, answer.body
    (made,) = stored_challenges(path)
    assert (made.subject, made.label, len(made.data)) == ("CN=C02XK1", "C02XK1", 100)
    assert {"serial_number", "udid", "field0"} < made.data.keys()


def test_two_devices_in_one_event_are_none(opened):
    server, path = opened(require=["serial_number"])
    both = event()
    both["event"]["device"] = {"serialNumber": "C02XK2"}
    twice = json.dumps(event()).replace(
        '"serialNumber": "C02XK1"', '"serialNumber": "C02XK2", "serialNumber": "C02XK1"'
    )
    answers = run(server, post(both), post(twice.encode()))
    assert [one.status for one in answers] == [422, 422]
    assert not stored_challenges(path)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"<event>" + b"<a/>" * 10_000 + b"</event>", "text/xml"),
        (b"{" + b",".join([b'"a":1'] * 10_000) + b"}", "application/json"),
    ],
)
def test_a_name_that_is_there_ten_thousand_times_is_gathered_in_one_list(monkeypatch, body, kind):
    """A list for each of them would hold the event loop for a third of a second."""
    made = []

    class Several(jamf_event._Several):
        def __init__(self, values):
            made.append(self)
            super().__init__(values)

    monkeypatch.setattr(jamf_event, "_Several", Several)
    with pytest.raises(HTTPRefused):
        jamf_event.read(body, kind)
    assert [len(one) for one in made] == [10_000]


def test_without_a_rule_a_device_that_nobody_names_gets_one(opened):
    server, path = opened()
    (answer,) = run(server, post(event(None)))
    assert answer.status == 200
    (made,) = stored_challenges(path)
    assert (made.label, dict(made.data)) == (None, {})


def test_a_probe_gets_an_answer_that_is_no_challenge(opened):
    """Fleet tries out the connection with an event about no device."""
    server, path = opened(subject="CN={serial_number}", answer_probes=True)
    probe, half = run(server, post(of_fleet(None)), post(event({"udid": "0000-AB"})))
    assert (probe.status, probe.body.decode()) == (200, PROBE_ANSWER)
    assert half.status == 422
    assert not stored_challenges(path)


def test_a_name_that_cannot_be_one_is_refused(opened):
    server, path = opened(subject="CN=a,C={country}")
    (answer,) = run(server, post(event({"country": "Switzerland"})))
    assert answer.status == 422
    assert b"cannot be in the names" in answer.body
    assert not stored_challenges(path)


@pytest.mark.parametrize(
    "seconds", [lambda now: now, lambda now: now * 1000, str, lambda _: None, lambda _: ""]
)
def test_the_time_is_in_seconds_or_milliseconds_or_not_there(opened, seconds):
    server, _ = opened()
    wanted = event()
    wanted["webhook"]["eventTimestamp"] = seconds(int(datetime.now(UTC).timestamp()))
    (answer,) = run(server, post(wanted))
    assert answer.status == 200


TIMES = [
    (1757435578123, 0.123),
    (1757435578, 0),
    ("1757435578", 0),
    (" 1757435578123 ", 0.123),
    (1757435578.5, 0.5),
    (1757435578123.0, 0.123),
    ("1757435578.5", 0.5),
    ("2025-09-09T16:32:58Z", 0),
    ("2025-09-09T18:32:58.500+02:00", 0.5),
    ("2025-09-09t16:32:58z", 0),
]


@pytest.mark.parametrize(("value", "more"), TIMES)
def test_a_time_in_any_legal_form_is_read(value, more):
    """What is passed over would let a recorded event of any time be sent again."""
    wanted = event()
    wanted["webhook"]["eventTimestamp"] = value
    found = jamf_event.read(json.dumps(wanted).encode(), "").at
    assert found - datetime(2025, 9, 9, 16, 32, 58, tzinfo=UTC) == timedelta(seconds=more)


@pytest.mark.parametrize(
    "text",
    [
        '"tomorrow"',
        '"2025-09-09T16:32:58"',
        '"Tue, 09 Sep 2025 16:32:58 GMT"',
        "true",
        "-1",
        "NaN",
        "1e400",
        "1" + "0" * 30,
        '"\uff11\uff17"',
        "[]",
        "{}",
        '1, "eventTimestamp": 1',
    ],
)
def test_a_time_that_cannot_be_read_is_refused(opened, text):
    server, path = opened()
    wanted = event()
    wanted["webhook"]["eventTimestamp"] = "HERE"
    (answer,) = run(server, post(json.dumps(wanted).replace('"HERE"', text).encode()))
    assert answer.status == 400
    assert answer.body.startswith(b"eventTimestamp cannot be read")
    assert not stored_challenges(path)


@pytest.mark.parametrize("off", [timedelta(hours=-2), timedelta(hours=2), timedelta(days=5000)])
def test_an_event_of_another_time_is_refused(opened, off):
    server, path = opened()
    (answer,) = run(server, post(event(at=datetime.now(UTC) + off)))
    assert answer.status == 400
    assert b"set the clocks" in answer.body
    assert not stored_challenges(path)


# --- bodies that are none -------------------------------------------------------------------------

BOMB = b"""<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY a "lol"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;">
<!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;">]><JSSEvent><event>&c;</event></JSSEvent>"""
OUTSIDE = b"""<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>
<JSSEvent><event><targetDevice><serialNumber>&a;</serialNumber></targetDevice></event></JSSEvent>"""


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (BOMB, "text/xml", 400),
        (OUTSIDE, "text/xml", 400),
        (b"<!DOCTYPE a><a/>", "text/xml", 400),
        (b"<a>" * 10_000, "text/xml", 400),
        (b"<a><b></a>", "text/xml", 400),
        (b"<a/>", "text/xml", 400),
        (b'<?xml version="1.0" encoding="x-none"?><a/>', "text/xml", 400),
        (b"", "text/xml", 400),
        (b"", "application/json", 400),
        (b"[" * 60_000, "application/json", 400),
        (b"\xff", "application/json", 400),
        (b"[]", "application/json", 400),
        (b"null", "application/json", 400),
        (b'{"webhook": [], "event": {}}', "application/json", 400),
        (b'{"webhook": {}, "webhook": {}, "event": {}}', "application/json", 400),
        (event(name="ComputerAdded"), "application/json", 400),
        (b"x=1", "application/x-www-form-urlencoded", 415),
        (b" " * (jamf_event.MAX_BODY + 1), "application/json", 413),
    ],
)
def test_what_is_no_event_gets_nothing(opened, body, kind, status):
    server, path = opened()
    (answer,) = run(server, post(body, kind=kind))
    assert answer.status == status
    assert b"lol" not in answer.body
    assert not stored_challenges(path)


@pytest.mark.parametrize(
    "doctype",
    [
        b"<!DOCTYPE JSSEvent>",
        b'<!DOCTYPE JSSEvent [<!ENTITY a "C02XK2">]>',
        b'<!DOCTYPE JSSEvent SYSTEM "http://127.0.0.1/a.dtd">',
        b'<!DOCTYPE JSSEvent [<!ENTITY % a SYSTEM "file:///etc/passwd">%a;]>',
    ],
)
def test_xml_that_declares_anything_is_refused_whatever_is_in_it(opened, doctype):
    server, path = opened()
    head, _, rest = in_xml(event()).partition(b"?>")
    (answer,) = run(server, post(head + b"?>" + doctype + rest, kind="text/xml"))
    assert answer.status == 400
    assert b"document type declaration" in answer.body
    assert not stored_challenges(path)


@given(st.binary(max_size=200), st.sampled_from(["text/xml", "application/json", ""]))
def test_any_octets_are_an_event_or_refused(octets, kind):
    with contextlib.suppress(HTTPRefused):
        jamf_event.read(octets, kind)


_NAMES = st.sampled_from(["serialNumber", "udid", "UDID", "a b", ""])
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(_NAMES, inside, max_size=3),
    max_leaves=8,
)


@given(_JSON, _JSON)
def test_any_device_is_read_or_left_out(device, time):
    wanted = event(device)
    wanted["webhook"]["eventTimestamp"] = time
    try:
        found = jamf_event.read(json.dumps(wanted).encode(), "application/json")
    except HTTPRefused:
        return  # the time cannot be read
    assert all(isinstance(value, str) and value.isprintable() for value in found.device.values())


# --- for whom, and how often ----------------------------------------------------------------------


def bearer(token=SECRET):
    return [("Authorization", f"Bearer {token}")]


@pytest.mark.parametrize(
    "headers",
    [
        [],
        basic("jamf", "wrong-password-17"),
        basic("other", SECRET),
        bearer(),
        bearer(base64.b64encode(f"jamf:{SECRET}".encode()).decode()),
        [("Authorization", "Basic !")],
    ],
)
def test_a_wrong_credential_gets_nothing(opened, headers):
    server, path = opened()
    (answer,) = run(server, post(event(), headers=headers))
    assert answer.status == 401
    assert answer.headers["www-authenticate"].startswith('Basic realm="')
    assert not stored_challenges(path)


def test_a_bearer_token_is_a_credential_too(opened):
    server, _ = opened(user=None, password_file=None, bearer_file="jamf.txt")
    right, wrong, other = run(
        server,
        post(event(), headers=bearer()),
        post(event(), headers=bearer("wrong-password-17")),
        post(event(), headers=basic("", SECRET)),
    )
    assert (right.status, wrong.status, other.status) == (200, 401, 401)
    assert wrong.headers["www-authenticate"].startswith('Bearer realm="')


def test_wrong_credentials_are_bounded_for_their_address_alone(opened):
    server, _ = opened()
    wrong = post(event(), headers=basic("jamf", "wrong-password-17"), peer="198.51.100.1")
    *_, last, same, elsewhere = run(
        server, *[wrong] * (PER_MINUTE + 1), post(event(), peer="198.51.100.1"), post(event())
    )
    assert (last.status, same.status, elsewhere.status) == (429, 429, 200)


def test_plain_http_from_elsewhere_gets_nothing(opened):
    server, path = opened()
    plain = post(event()) | {"peer": "203.0.113.9"}
    (answer,) = run(server, plain)
    assert answer.status == 403
    assert not stored_challenges(path)


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT"])
def test_only_a_post_is_one(opened, method):
    server, path = opened()
    (answer,) = run(server, post(event()) | {"method": method})
    assert (answer.status, answer.headers["allow"]) == (405, "POST")
    assert not stored_challenges(path)


def test_without_the_setting_there_is_no_webhook(app):
    server, _ = app()
    (answer,) = run(server, post(event()))
    assert answer.status == 404


def test_too_many_unspent_ones_mean_later(opened):
    server, path = opened({"authorization": bounded(max_pending=1)})
    first, second = run(server, post(event()), post(event()))
    assert (first.status, second.status) == (200, 503)
    assert second.headers["retry-after"] == "60"
    assert len(stored_challenges(path)) == 1


def test_too_many_in_a_minute_mean_later(opened):
    server, path = opened(per_minute=1)
    first, second = run(server, post(event()), post(event()))
    assert (first.status, second.status) == (200, 429)
    assert len(stored_challenges(path)) == 1


def test_the_record_and_the_log_say_who_got_it(opened, logged):
    server, path = opened()
    (answer,) = run(server, post(event()))
    with Store.open(f"sqlite:///{path / 'scep.db'}") as store:
        records = [one.members for one in store.audit_records()]
    (record,) = [one for one in records if one["action"] == "challenge-minted"]
    assert record["actor"] == "jamf:jamf"
    assert record["details"]["door"] == "jamf"
    (line,) = [one for one in logged if one["event"] == "jamf"]
    assert (line["outcome"], line["challenge_label"]) == ("minted", "C02XK1")
    assert answer.body.decode() not in str(logged)
    assert SECRET not in str(logged)


# --- settings -------------------------------------------------------------------------------------

TABLE = "[endpoint.default.jamf]\n"
CREDENTIAL = 'user = "jamf"\npassword_file = "jamf.txt"\n'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (TABLE, "it needs user and password_file, or bearer_file"),
        (f'{TABLE}user = "jamf"\n', "it needs user and password_file, or bearer_file"),
        (f'{TABLE}{CREDENTIAL}bearer_file = "b"\n', "and not both"),
        (f'{TABLE}{CREDENTIAL}subject = "CN={{serial number}}"\n', "is no placeholder"),
        (f'{TABLE}{CREDENTIAL}subject = "CN={{udid!r}}"\n', "is no placeholder"),
        (f'{TABLE}{CREDENTIAL}subject = "CN={{udid"\n', "jamf.subject"),
        (f'{TABLE}{CREDENTIAL}subject = "{{udid}}"\n', "jamf"),
        (f'{TABLE}{CREDENTIAL}sans = ["dns:a"]\n', "names alone cannot bind a challenge"),
        (f'{TABLE}{CREDENTIAL}require = ["Serial"]\n', "jamf.require"),
        (f"{TABLE}{CREDENTIAL}per_minuet = 3\n", "did you mean `per_minute`"),
        (
            f'[endpoint.default]\nchallenge = "none"\napproval = "manual"\n{TABLE}{CREDENTIAL}',
            "no rule judges these",
        ),
        (f'host = "0.0.0.0"\n{TABLE}{CREDENTIAL}', "in plain HTTP"),
    ],
)
def test_settings_that_leave_something_open_are_refused(tmp_path, text, said):
    (tmp_path / "scep.toml").write_text(text)
    with pytest.raises(SettingsError) as refused:
        settings.load(tmp_path)
    assert said in refused.value.message


def test_certificates_that_take_the_place_of_others_need_a_subject(directory):
    path = directory()
    profile = '[profile.one]\nextends = "device"\nsame_subject = "replace"\n'
    text = f'[endpoint.default]\nprofile = "one"\n{profile}{TABLE}{CREDENTIAL}'
    (path / "jamf.txt").write_text(SECRET)
    (path / "jamf.txt").chmod(0o600)
    (path / "scep.toml").write_text(text)
    home = data_directory.prepare(path, now=datetime.now(UTC))
    with Store.open(home.settings.database_url) as store:
        with pytest.raises(SettingsError, match="jamf binds them to none"):
            assemble(home, store)
        (path / "scep.toml").write_text(f'{text}subject = "CN={{udid}}"\n')
        home = data_directory.prepare(path, now=datetime.now(UTC))
        assert assemble(home, store)["default"].jamf


@pytest.mark.parametrize(
    ("content", "mode", "said"),
    [
        (None, 0o600, "is missing"),
        ("short", 0o600, "fewer than 16 characters"),
        (SECRET, 0o644, "can be read by others"),
    ],
)
def test_a_secret_that_is_none_stops_the_start(directory, content, mode, said):
    path = directory()
    (path / "scep.toml").write_text(TABLE + CREDENTIAL)
    if content is not None:
        (path / "jamf.txt").write_text(content)
        (path / "jamf.txt").chmod(mode)
    home = data_directory.prepare(path, now=datetime.now(UTC))
    with (
        Store.open(home.settings.database_url) as store,
        pytest.raises(SettingsError) as refused,
    ):
        assemble(home, store)
    assert said in refused.value.message
