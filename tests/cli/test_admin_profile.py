"""`scep admin profile`: listed, shown, checked, and tried without anything being issued."""

from __future__ import annotations

import io
import json
import re
import sys
import tomllib
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

import keys
from enrolment import devices
from scepkit.ca.issuer import Order
from scepkit.protocol.certificate import Certificate
from scepkit.server.directory import data_directory
from scepkit.server.settings.profiles.format import ProfileSettings
from scepkit.store import Recorded, Store
from stored import make_issuance

OWN = """
[profile.hosts]
extends = "tls-server"
description = "Hosts of the house"
[profile.hosts.subject.O]
fixed = "Example"
[profile.hosts.names.dns]
min = 1
suffixes = ["example.com"]
[endpoint.hosts]
profile = "hosts"
validity_days = 7
"""


class Done(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    path = tmp_path_factory.mktemp("profiles") / "scep-data"
    home = data_directory.prepare(path, now=datetime.now(UTC), layout="ec")
    Store.open(home.settings.database_url).close()
    return path


@pytest.fixture
def admin(made, scep):
    """Run `scep admin profile …` on a server with these settings."""

    def run(what, *more, text=OWN):
        (made / "scep.toml").write_text(text)
        return Done(*scep("admin", "profile", what, "--dir", made, *more))

    return run


@pytest.fixture
def asked(tmp_path):
    """Return the file with a request."""

    def write(subject="CN=a", sans=("dns:a.example.com",)):
        request = devices.request(subject=subject, sans=sans)
        pem = x509.load_der_x509_csr(request.der).public_bytes(Encoding.PEM)
        (tmp_path / "device.csr").write_bytes(pem)
        return tmp_path / "device.csr"

    return write


# --- list, show, check ----------------------------------------------------------------------------


def test_the_list(admin, made):
    """Where each stands, what it extends, and which endpoints issue by it."""
    text = f'{OWN}[profile.device]\nvalidity = "8h"\n'
    (made / "profiles").mkdir(exist_ok=True)
    (made / "profiles/lab.toml").write_text('extends = "hosts"\n')
    try:
        rows = [json.loads(line) for line in admin("list", "--json", text=text).out.splitlines()]
        shown = admin("list", text=text).out
    finally:
        (made / "profiles/lab.toml").unlink()
    by_name = {row["name"]: row for row in rows}
    assert by_name["hosts"] == {
        "name": "hosts",
        "extends": "tls-server",
        "from": "scep.toml:2",
        "endpoints": ["hosts"],
        "description": "Hosts of the house",
    }
    assert by_name["device"]["endpoints"] == ["default"]
    assert by_name["device"]["from"] == "ready scep.toml:13"
    assert by_name["lab"]["from"] == "profiles/lab.toml"
    assert by_name["windows-user"]["from"] == "ready"
    assert "Hosts of the house" in shown


@pytest.mark.parametrize("name", ["hosts", "lab", "device", "windows-user"])
def test_what_is_shown_is_a_profile(admin, made, name):
    """It can be pasted into scep.toml as it is, and says the same there."""
    text = (
        f'{OWN}[profile.lab]\nextends = "windows-user"\nnot_after = 2099-01-01T00:00:00Z\n'
        'description = "a \\" \\u001b[2J \\u202e line\\nand more"\nkey.kinds = ["p256"]\n'
        'subject."1.2.3.4".max = 2\n[[profile.lab.policies]]\noid = "1.2.3"\n'
        'cps = "http://example.com"\n[[profile.lab.extensions]]\noid = "1.3.6.1.4.1.99999.1"\n'
        'value = "0500"\n'
    )
    told = json.loads(admin("show", name, "--json", text=text).out)
    shown = admin("show", name, text=text).out
    assert all(one.isprintable() for line in shown.splitlines() for one in line)
    assert max(map(len, shown.splitlines())) <= 80 or name in ("device", "windows-user")
    pasted = tomllib.loads(shown)["profile"]
    assert pasted.keys() == {name}
    assert ProfileSettings(**pasted[name]) == ProfileSettings(**told["keys"])
    admin("show", name, text=shown)
    assert json.loads(admin("show", name, "--json", text=shown).out)["keys"] == told["keys"]


def test_where_a_value_comes_from(admin):
    text = (
        '[profile.a]\nextends = "tls-server"\nvalidity = "90d"\nbackdate = "1h"\n'
        '[profile.b]\nextends = "a"\nkey.weak = "allow"\n[profile.device]\nbackdate = "2h"\n'
        '[endpoint.b]\nprofile = "b"\nvalidity_days = 3\n'
    )
    told = json.loads(admin("show", "b", "--json", text=text).out)
    origins = told["origins"]
    # A value that is said again is still that of the first who says it.
    assert origins["validity"] == "tls-server"
    assert (origins["backdate"], origins["extends"]) == ("a", "b")
    assert (origins["key.weak"], origins["key.rsa_bits"]) == ("b", "default")
    assert told["endpoints"] == ["b"]
    shown = admin("show", "b", text=text).out
    assert "# endpoint b, which says otherwise: validity_days" in shown
    assert re.search(r'^backdate = "1h" +# a$', shown, re.MULTILINE)
    told = json.loads(admin("show", "device", "--json", text=text).out)["origins"]
    assert (told["backdate"], told["description"]) == ("device", "device, ready")


def test_an_unknown_profile(admin):
    for what in (("show", "host"), ("try", "host", "none.csr")):
        done = admin(*what)
        assert done.code == 2
        assert "did you mean 'hosts'?" in done.err


def test_the_check_tells_all_that_is_wrong(admin, made):
    assert admin("check").code == 0
    text = (
        '[profile.a]\nvalidty = "8h"\n[profile.b]\nbackdate = "x"\n[profile.b.key]\nkind = []\n'
        '[endpoint.default]\nprofil = "a"\n'
    )
    done = admin("check", text=text)
    assert done.code == 2
    file = made / "scep.toml"
    for said in (
        f"{file}, line 2: there is no setting `profile.a.validty`; did you mean `validity`?",
        f"{file}, line 4: profile.b.backdate: a number with",
        f"{file}, line 6: there is no setting `profile.b.key.kind`; did you mean `kinds`?",
        f"{file}, line 8: there is no setting `endpoint.default.profil`; did you mean `profile`?",
    ):
        assert f"error: {said}" in done.err
    rows = [json.loads(line) for line in admin("check", "--json", text=text).out.splitlines()]
    assert [(one["severity"], one["line"]) for one in rows] == [("error", n) for n in (2, 4, 6, 8)]
    assert rows[0]["key"] == "profile.a.validty"
    assert admin("check", text="[profile.a").code == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[profile.a]\nnot_after = 2020-01-01T00:00:00Z", "profile a: not_after is over"),
        ('[profile.a]\nkey.blocklist = "none.txt"', "none.txt: No such file"),
        ('[endpoint.a]\nca = "lab"', "profile device at the endpoint a: "),
    ],
)
def test_what_only_shows_when_profiles_are_used(admin, text, said):
    done = admin("check", text=text)
    assert done.code == 2
    assert said in " ".join(done.err.split())


def test_a_profile_that_outlives_its_ca_is_a_warning(admin):
    done = admin("check", text='[profile.device]\nvalidity = "49y"')
    assert done.code == 0
    assert (
        "warning: profile device at the endpoint default: certificates end with the CA" in done.err
    )


# --- try ------------------------------------------------------------------------------------------


def rules(done):
    return [line.strip() for line in done.out.partition("Rules that acted:")[2].splitlines()]


def test_a_trial(admin, asked, made):
    """The certificate is what would be issued, but for its key; and nothing is issued."""
    admin("check")
    before = {one: one.read_bytes() for one in made.iterdir() if one.is_file()}
    done = admin("try", "hosts", asked(), "--pem")
    certificate = x509.load_pem_x509_certificate(done.out.encode())
    ca = x509.load_pem_x509_certificate((made / "ca.pem").read_bytes())
    assert certificate.issuer == ca.subject
    with pytest.raises(InvalidSignature):
        certificate.verify_directly_issued_by(ca)
    assert certificate.public_key() == keys.device().key.public_key()
    # The endpoint says seven days.
    assert (certificate.not_valid_after_utc - certificate.not_valid_before_utc).days == 7
    shown = admin("try", "hosts", asked())
    assert "Subject:  O=Example,CN=a\n" in shown.out
    assert "  subjectAltName:\n    dns:a.example.com\n" in shown.out
    assert "added: O=Example (subject.O.fixed)" in rules(shown)
    assert "added: purpose server_auth (default_eku)" in rules(shown)
    assert "pkilint" in shown.out + shown.err
    assert (
        before.items() <= {one: one.read_bytes() for one in made.iterdir() if one.is_file()}.items()
    )


def test_der_and_stdin(admin, asked, tmp_path, monkeypatch):
    der = x509.load_pem_x509_csr(asked().read_bytes()).public_bytes(Encoding.DER)
    (tmp_path / "device.der").write_bytes(der)
    assert "Subject:  CN=a" in admin("try", "device", tmp_path / "device.der").out
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(der)))
    assert "Subject:  CN=a" in admin("try", "device", "-").out


def test_what_a_trial_leaves_out_and_refuses(admin, asked, tmp_path):
    done = admin("try", "hosts", asked(sans=("dns:a.example.com", "uri:urn:a:b")))
    assert "left out: name uri:urn:a:b (names.kinds)" in rules(done)
    done = admin("try", "hosts", asked(sans=()))
    assert done.code == 1
    assert done.out == ""
    assert "error: refused at the endpoint hosts: the dns name is there 0 times" in done.err
    done = admin("try", "hosts", asked(sans=()), "--json")
    assert done.code == 1
    refused = json.loads(done.out)
    assert refused["pem"] == ""
    assert "names.dns.min of the profile 'hosts'" in refused["refused"]


def test_the_name_of_the_ca_is_refused(admin, asked, made):
    for name in ("ca.pem", "ra.pem"):
        one = x509.load_pem_x509_certificate((made / name).read_bytes())
        done = admin("try", "device", asked(subject=one.subject.rfc4514_string()))
        assert done.code == 1
        assert "the subject is that of the CA or of its RA" in done.err


def test_what_cuts_the_validity(admin, asked):
    text = '[profile.a]\nvalidity = "49y"\n[profile.b]\nnot_after = {}\n'
    until = (datetime.now(UTC) + timedelta(days=9)).strftime("%Y-%m-%dT%H:%M:%SZ")
    text = text.format(until)
    assert "cut: the validity, at the end of the CA (validity)" in rules(
        admin("try", "a", asked(), text=text)
    )
    assert "cut: the validity (not_after)" in rules(admin("try", "b", asked(), text=text))


def test_a_trial_with_the_data_of_a_challenge(admin, asked):
    """And with one that is bound, as log-ins to a Windows domain need it."""
    pytest.importorskip("jinja2", reason="pip install 'scepkit[profiles]'")
    text = "[profile.a]\nsubject.OU.template = '{{ challenge.data.unit }}{{ challenge.label }}'"
    done = admin("try", "a", asked(), "--data", "unit=Lab", "--label", "7", text=text)
    assert "added: OU=Lab7 (subject.OU.template)" in rules(done)
    name = asked(sans=("upn:a@example.com",))
    refused = admin("try", "windows-user", name)
    assert refused.code == 1
    assert "user principal name" in refused.err
    assert "    upn:a@example.com" in admin("try", "windows-user", name, "--bound").out


def test_approval_does_not_stand_in_the_way(admin, asked):
    text = '[endpoint.default]\napproval = "manual"\n'
    assert admin("try", "device", asked(), text=text).code == 0


def issued(home, store, subject):
    """Issue a certificate at the endpoint `default`."""
    request, now = devices.request(subject=subject), datetime.now(UTC)
    ca, profile = home.material.ca, home.settings.profile_of("default").compiled("device")
    found = ca.certify(Order(request.subject, request.public_key, request.extensions, profile, now))
    record = make_issuance(
        endpoint="default",
        certificate=found.der,
        serial=found.serial,
        subject=subject,
        not_before=found.not_before,
        not_after=found.not_after,
        public_key=found.key_hash,
        issuer=ca.key_hash,
        now=now,
    )
    assert isinstance(store.record(record).result(), Recorded)
    return Certificate.read(found.der)


def test_a_renewal(admin, made, tmp_path):
    """By a certificate that was issued here, and with the rules of renewals."""
    home = data_directory.open_existing(made, now=datetime.now(UTC))
    text = "[endpoint.default]\nrenewal_window_days = 400\n"
    with Store.open(home.settings.database_url) as store:
        (tmp_path / "old.pem").write_text(issued(home, store, "CN=old").pem())
    database = (made / "scep.db").read_bytes()
    key = keys.rsa_key("renewed")
    new = tmp_path / "new.csr"
    for subject, code in (("CN=old", 0), ("CN=other", 1)):
        request = devices.request(subject=subject, key=key)
        new.write_bytes(request.der)
        done = admin("try", "device", new, "--signed-by-old", tmp_path / "old.pem", text=text)
        assert done.code == code, done
    assert "a renewal of CN=old asks for CN=other" in done.err
    stranger = tmp_path / "stranger.pem"
    stranger.write_text(keys.customer().certificate.pem())
    done = admin("try", "device", new, "--signed-by-old", stranger, text=text)
    assert done.code == 1
    assert "signed with a certificate of this CA" in done.err
    assert admin("try", "device", new, "--signed-by-old", new).code == 2
    text = "[endpoint.default]\nrenewal_window_days = 30\n"
    new.write_bytes(devices.request(subject="CN=old", key=key).der)
    done = admin("try", "device", new, "--signed-by-old", tmp_path / "old.pem", text=text)
    assert done.code == 1
    assert "too early" in done.err
    assert (made / "scep.db").read_bytes() == database


# --- hostile requests -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "octets", [b"", b"nothing", b"0" * 999, b"\x30\x84\xff\xff\xff\xff", b"\0"]
)
def test_what_is_no_request(admin, tmp_path, octets):
    (tmp_path / "no.csr").write_bytes(octets)
    done = admin("try", "device", tmp_path / "no.csr")
    assert done.code == 2
    assert f"the PKCS#10 in {tmp_path / 'no.csr'} cannot be used" in done.err
    assert "Traceback" not in done.err


def test_a_certificate_in_the_place_of_a_request(admin, tmp_path):
    (tmp_path / "cert.pem").write_text(keys.customer().certificate.pem())
    done = admin("try", "device", tmp_path / "cert.pem")
    assert done.code == 2
    assert f"{tmp_path / 'cert.pem'} is a certificate, not a PKCS#10" in done.err
    assert "hint: name the file with the request" in done.err


def test_a_request_of_a_megabyte(admin, tmp_path):
    (tmp_path / "big.csr").write_bytes(bytes((1 << 20) + 1))
    done = admin("try", "device", tmp_path / "big.csr")
    assert done.code == 2
    assert "more than 1048576 octets" in done.err
    many = tuple(f"dns:host-{n}.example.com" for n in range(3000))
    (tmp_path / "many.csr").write_bytes(devices.request(subject="CN=a", sans=many).der)
    done = admin("try", "device", tmp_path / "many.csr")
    assert done.code == 1
    assert "3000 alternative names are too many" in done.err


@pytest.mark.parametrize(
    "name",
    ["a\x1b[2J\x1b]0;x\x07", "a\nSubject: b", "{{ 7*7 }}", "'\"$(id)`", "a\u202eb", "x" * 64000],
)
def test_hostile_names(admin, tmp_path, name):
    """Nothing of them moves the cursor or passes for a line of ours."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name, _validate=False)])
    long = devices.request(subject=subject)
    (tmp_path / "odd.csr").write_bytes(long.der)
    done = admin("try", "device", tmp_path / "odd.csr")
    told = done.out + done.err
    assert all(one.isprintable() for line in told.split("\n") for one in line)
    assert done.code == (0 if name.isascii() and name.isprintable() and len(name) < 65 else 1)


ASKED = """
[profile.staff]
extends = "windows-user"
[profile.staff.subject.OU]
template = "{{ service.data.department }}"
[profile.staff.names.upn]
add = ["{{ service.names.upn | first }}"]
[endpoint.staff]
profile = "staff"
"""

REPLACING = """
[profile.one]
same_subject = "replace"
[endpoint.one]
profile = "one"
challenge = "none"
approval = "manual"
"""


def test_a_trial_with_the_answer_of_a_service(admin, asked):
    given = ["--service", "department=IT", "--service-subject", "CN=a"]
    names = ["--service-san", "upn:al@corp.example", "--service-san", "dns:a.example.com"]
    done = admin("try", "staff", asked(), *given, *names, "--json", text=ASKED)
    assert done.code == 0, done.err
    told = json.loads(done.out)
    assert "added: OU=IT (subject.OU.template)" in told["rules"]
    assert "added: name upn:al@corp.example (names.upn.add)" in told["rules"]
    other = admin("try", "staff", asked("CN=b"), *given, *names, text=ASKED)
    assert (other.code, "the answer of the service is for the subject CN=a" in other.err) == (
        1,
        True,
    )
    without = admin("try", "staff", asked(), text=ASKED)
    assert (without.code, "OU cannot be made by its template" in without.err) == (1, True)
    names_alone = admin("try", "staff", asked(), *names, text=ASKED)
    assert (names_alone.code, "no subject that they belong to" in names_alone.err) == (2, True)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (ASKED, "needs the answer of a service, and none is asked here"),
        (REPLACING, "which is bound to no subject"),
    ],
)
def test_the_check_tells_what_no_request_could_be_entitled_to(admin, text, said):
    done = admin("check", text=text)
    assert (done.code, said in done.err) == (2, True), done.err
