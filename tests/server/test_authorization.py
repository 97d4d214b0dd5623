"""`[[endpoint.NAME.authorization]]`: lists of rules that leave nothing open; what they become."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from scepkit.ca.profiles.profile import Profile
from scepkit.errors import SettingsError
from scepkit.server import settings
from scepkit.server.directory import data_directory
from scepkit.server.directory.endpoint_files import EndpointFiles
from scepkit.server.endpoints import assembly, authorization
from scepkit.server.settings.authorization import described
from scepkit.server.settings.endpoint import EndpointSettings
from scepkit.store import Door, Store

RULE = "[[endpoint.default.authorization]]\n"
ONE_TIME = f'{RULE}kind = "one-time"\n'
STATIC = (
    f'{RULE}kind = "static"\nmatch = {{ prefix = "site-" }}\n'
    '[[endpoint.default.authorization.secrets]]\nname = "2026"\nfile = "2026.txt"\n'
)
BASE32 = 'match = { length = 32, form = "base32" }\n'


def load(path, text):
    (path / "scep.toml").write_text(text)
    return settings.load(path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (ONE_TIME + STATIC, "a challenge can have the shape of two rules, one-time and static"),
        (ONE_TIME + BASE32 + ONE_TIME, 'several rules of kind = "one-time", and only one may be'),
        (f'{RULE}kind = "certificate"\n', "nobody would get a first certificate"),
        (f'{RULE}kind = "oracle"\n', "authorization.0 has to be of a kind that there is: 'certif"),
        (f"{RULE}match = {{}}\n", "authorization.0 has to be a table with kind"),
        (f"{ONE_TIME}mtch = {{}}\n", "`endpoint.default.authorization.0.mtch`; did you mean `mat"),
        (f"{ONE_TIME}match = {{ lenght = 3 }}", "authorization.0.match.lenght`; did you mean `len"),
        (f"{ONE_TIME}match = {{ length = 16 }}", "have 32 characters in base32"),
        (f'{ONE_TIME}match = {{ form = "hex" }}', "have 32 characters in base32"),
        (f'{ONE_TIME}match = {{ prefix = "A" }}', "have 32 characters in base32"),
        (f"{ONE_TIME}match = {{ length = [9, 3] }}", "no challenge is that short"),
        (f'{ONE_TIME}match = {{ form = "words" }}', "match.form has to be 'digits', 'hex'"),
        (f'{RULE}kind = "static"\nsecrets = []', "secrets has to be a list of at least 1"),
        (f"{STATIC}end = 2027-01-01T00:00:00\n", "end has to be a moment with its zone"),
        (
            f"{STATIC}start = 2027-01-01T00:00:00Z\nend = 2027-01-01T00:00:00Z\n",
            "start has to be before end",
        ),
        (
            f'{STATIC}[[endpoint.default.authorization.secrets]]\nname = "2026"\nfile = "b"\n',
            "each of them needs a name of its own",
        ),
        (f"[endpoint.default]\nrenewal = false\n{ONE_TIME}", "renewal does not go with authoriz"),
        (
            f'[endpoint.default]\nchallenge = "none"\napproval = "manual"\n{ONE_TIME}',
            "challenge does not go with authorization",
        ),
        (
            f'[endpoint.default]\npreset = "intune"\n{ONE_TIME}{RULE}kind = "approval"\n',
            "Intune cannot wait",
        ),
        (f'{RULE}kind = "devices"\nby = ["hostname"]\n', "a host name is no secret"),
        (f'{RULE}kind = "devices"\nby = []\n', "it has to have"),
        (f'{RULE}kind = "devices"\nby = ["key", "colour"]\n', "by"),
        (
            f'{RULE}kind = "devices"\n{RULE}kind = "approval"\n',
            "both judge requests without a challenge",
        ),
        (
            f"[endpoint.default]\nrevocation_passphrase = true\n{STATIC}",
            "revocation_passphrase = true does not go with",
        ),
    ],
)
def test_a_list_that_leaves_something_open_is_refused(tmp_path, text, said):
    with pytest.raises(SettingsError) as refused:
        load(tmp_path, text)
    assert said in refused.value.message


@pytest.mark.parametrize(
    ("said", "bounds"),
    [
        ("", {"rest": 1_000_000, "ndes": 10_000}),
        ("max_pending = 7\n", {"rest": 7, "ndes": 7}),
        ("max_pending = { ndes = 7 }\n", {"rest": 1_000_000, "ndes": 7}),
    ],
)
def test_bounds_of_challenges_by_door(tmp_path, said, bounds):
    found = load(tmp_path, ONE_TIME + said).endpoint["default"].pending_bounds
    assert {name: found[name] for name in bounds} == bounds
    assert len(found) == len(Door)


@pytest.mark.parametrize("said", ["0", "{ window = 3 }", "{ ndes = -1 }", "[3]"])
def test_bounds_that_are_none(tmp_path, said):
    with pytest.raises(SettingsError, match="max_pending"):
        load(tmp_path, f"{ONE_TIME}max_pending = {said}\n")


def test_an_error_in_a_rule_is_found_at_its_line(tmp_path):
    with pytest.raises(SettingsError, match=r"\(line 6\)"):
        load(tmp_path, f"{ONE_TIME}{BASE32}{RULE}kind = 'static'\nmatch = {{ form = 'x' }}\n")
    second = '[[endpoint.default.authorization.secrets]]\nname = "b"\nfile = 3\n'
    with pytest.raises(SettingsError, match=r"\(line 10\)"):
        load(tmp_path, f"{STATIC}\n{second}")


@pytest.mark.parametrize(
    ("given", "became"),
    [
        ({}, ["certificate", "one-time"]),
        ({"renewal": False}, ["one-time"]),
        ({"approval": "manual"}, ["certificate", "one-time (then approval)", "approval"]),
        ({"approval": "manual", "challenge": "none"}, ["certificate", "approval"]),
        (
            {"challenge": "static", "challenge_file": "c.txt"},
            ["certificate", "static (secrets challenge_file)"],
        ),
    ],
)
def test_the_settings_of_before_are_rules(given, became):
    assert [described(rule) for rule in EndpointSettings(**given).rules] == became


@pytest.mark.parametrize(
    ("rules", "became"),
    [
        (f'{RULE}kind = "devices"\n', ["devices (by key)"]),
        (
            f'{ONE_TIME}{RULE}kind = "devices"\nby = ["key", "mac"]\n',
            ["one-time", "devices (by key, mac)"],
        ),
        (
            f'{ONE_TIME}devices = ["mac"]\n{RULE}kind = "approval"\ndevices = ["mac"]\n',
            ["one-time (devices by mac)", "approval (devices by mac)"],
        ),
    ],
    ids=["alone", "beside challenges", "to narrow others"],
)
def test_rules_with_a_list_of_devices(directory, rules, became):
    path = directory()
    settings = load(path, rules).endpoint["default"]
    assert [described(one) for one in settings.rules] == became
    assert settings.knows_devices
    home = data_directory.prepare(path, now=datetime.now(UTC))
    with Store.open(home.settings.database_url) as store:
        files, now = EndpointFiles(), data_directory.utc_now
        more = Profile(), files, now
        challenges, selection = authorization.rules_of("default", home, store, *more)
        assert selection.unchallenged is not None
        assert challenges.max_length


def test_rules_survive_the_way_to_a_worker(tmp_path):
    found = load(tmp_path, f"{ONE_TIME}{BASE32}{STATIC}end = 2027-01-01T00:00:00+01:00\n")
    values = found.model_dump(mode="json", exclude_none=True)
    assert settings.restore(values).endpoint == found.endpoint


@pytest.fixture
def assembled(directory):
    def assembled(text, **secrets):
        path = directory()
        for name, content in secrets.items():
            file = path / f"{name}.txt"
            file.touch(0o600)
            file.write_text(content)
        home = data_directory.prepare(path, now=datetime.now(UTC))
        with (path / "scep.toml").open("a") as file:
            file.write(text)
        home = data_directory.open_existing(path, now=datetime.now(UTC))
        with Store.open(home.settings.database_url) as store:
            return assembly.assemble(home, store)["default"].scep._admission

    return assembled


def test_an_endpoint_with_several_rules(assembled):
    rules = f'{ONE_TIME}{BASE32}{STATIC}{RULE}kind = "approval"\n'
    admission = assembled(rules, **{"2026": "site-0123456789"})
    assert admission.rules.approval
    assert admission.rules.renewal is None
    assert admission.tries is not None
    chosen = admission.selection.of
    assert chosen("A" * 32).challenges == admission.challenges
    assert chosen("site-").challenges.each[0].name == "2026"
    assert not chosen("A" * 32).waits


def test_a_list_of_devices_knows_what_its_endpoint_issues(assembled):
    text = f'{RULE}kind = "devices"\n[profile.device]\nnames.kinds = ["ip"]\n'
    admission = assembled(text)
    assert admission.challenges.devices.profile is admission.profile


def test_a_static_challenge_that_its_rule_does_not_take(assembled):
    with pytest.raises(SettingsError, match="has another shape than match") as refused:
        assembled(STATIC, **{"2026": "0123456789"})
    assert "0123" not in refused.value.message
