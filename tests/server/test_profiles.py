"""`[profile.NAME]` and profiles/NAME.toml: what is read, what extends what, and what is refused."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from scepkit.errors import SettingsError
from scepkit.server import settings
from scepkit.server.directory import endpoint_files
from scepkit.server.settings import errors, precedence
from scepkit.server.settings.endpoint import PROFILE_KEYS
from scepkit.server.settings.profiles import inheritance, log_ins, values
from scepkit.server.settings.profiles.format import ProfileSettings, tables
from scepkit.server.settings.profiles.sections import (
    AttributeSettings,
    ExtensionSettings,
    NameKind,
    PolicySettings,
)

NAME_KINDS = get_args(NameKind)
PAGE = Path(__file__).parents[2] / "docs/reference/profiles.md"


@pytest.fixture
def load(tmp_path):
    """Return the settings for the text of scep.toml, and those of profiles, by name."""

    def load(text="", **profiles):
        (tmp_path / "scep.toml").write_text(text, "utf-8")
        (tmp_path / "profiles").mkdir(exist_ok=True)
        for name, one in profiles.items():
            (tmp_path / "profiles" / f"{name}.toml").write_text(one, "utf-8")
        return settings.load(tmp_path)

    return load


def test_an_endpoint_names_its_profile(load):
    found = load(
        '[profile.vpn]\nvalidity = "8h"\nkey.kinds = ["p256"]\n'
        '[endpoint.vpn]\nprofile = "vpn"\n[endpoint.files]\nprofile = "printers"',
        printers='backdate = "24h"\n[names]\nkinds = ["dns"]',
    )
    vpn = found.profile_of("vpn").compiled("vpn")
    assert (vpn.name, vpn.validity, vpn.rsa_bits) == ("vpn", timedelta(hours=8), None)
    assert vpn.curves == {"secp256r1"}
    printers = found.profile_of("files").compiled("printers")
    assert printers.backdate == timedelta(hours=24)
    assert printers.san_types == {"dns"}
    assert found.endpoint["default"].profile == "device"


def test_a_profile_extends_another(load):
    """Its own keys win; a table is put together, a list is replaced."""
    found = load(
        '[profile.a]\nvalidity = "30d"\ndefault_eku = ["server_auth"]\n'
        '[profile.a.key]\nkinds = ["rsa"]\nrsa_bits = [3072, 4096]\n'
        '[profile.b]\nextends = "a"\nkey.rsa_bits = [4096, 4096]\n'
        '[profile.c]\nextends = "b"\ndefault_eku = []'
    ).profile
    assert found["c"].validity == timedelta(days=30)
    assert found["c"].key.kinds == {"rsa"}
    assert found["c"].key.rsa_bits == (4096, 4096)
    assert found["c"].default_eku == ()
    assert found["a"].key.rsa_bits == (3072, 4096)


def test_a_ready_profile_can_be_changed(load):
    found = load('[profile.device]\nvalidity = "7d"').profile
    assert found["device"].validity == timedelta(days=7)
    assert found["device"].description == inheritance.ready()["device"].description


def test_a_profile_survives_the_way_to_a_worker(load):
    found = load(
        '[profile.a]\nvalidity = "8h"\nnot_after = 2030-01-01T00:00:00Z\n'
        '[profile.b]\nextends = "a"\nbackdate = "90m"\n[endpoint.default]\nprofile = "b"'
    )
    again = settings.restore(found.model_dump(mode="json", exclude_none=True))
    assert again.profile == found.profile
    assert again.profile_of("default").not_after == datetime(2030, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "said", "line"),
    [
        ("[profile.a]\nvalidty = '8h'", "`profile.a.validty`; did you mean `validity`?", 2),
        ("[profile.a.key]\nkind = ['rsa']", "`profile.a.key.kind`; did you mean `kinds`?", 2),
        ("[profile.a]\nvalidity = '8 hours'", "profile.a.validity: a number with m, h, d", 2),
        ("[profile.a]\nvalidity = 8", "profile.a.validity: a number with m, h, d", 2),
        ("[profile.a]\nvalidity = '0d'", "a.validity has to be more than nothing", 2),
        ("[profile.a]\nvalidity = '99y'", "profile.a.validity: at most 50 years", 2),
        ("[profile.a]\nnot_after = 2030-01-01T00:00:00", "profile.a.not_after: a time with", 2),
        ("[profile.a]\nkey.kinds = []", "profile.a.key.kinds has to be a list of at least 1", 2),
        ("[profile.a]\nkey.rsa_bits = [4096, 2048]", "profile.a.key.rsa_bits: the smallest", 2),
        ("[profile.a]\ndefault_eku = ['party']", "'party' is no purpose", 2),
        ("[profile.a]\nallowed_eku = ['2.5.29.37.0']", "speak for the CA", 2),
        ("[profile.a]\nextends = 'devise'", "no profile 'devise'; did you mean 'device'?", 2),
        ("\n[profile.a.subject.CM]\nmax = 1", "'CM' is no attribute of a subject", 2),
        ("[profile.a]\nsubject.CN.maxx = 1", "`profile.a.subject.CN.maxx`; did you mean", 2),
        ("[profile.a]\nsubject.CN.pattern = '('", "'(' is no pattern", 2),
        ("[profile.a]\nsubject.CN.template = '{{'", "'{{' is no template", 2),
        ("[profile.a]\nsubject.CN.template = '{{ x }}'", "names 'x'; there are", 2),
        ("[profile.a.subject.CN]\nfixed = 'a'\ntemplate = 'b'", "keep one of the two", 1),
        ("[profile.a.subject.CN]\nfixed = 'a'\nforbidden = true", "contradicts", 1),
        ("[profile.a]\nsubject.C.fixed = 'Germany'", "C.fixed: the subject's C must have two", 1),
        ("[profile.a]\nsubject.O.fixed = '\u202ex'", "O.fixed: the subject's O holds bidi", 1),
        ("[profile.a.subject.O]\nfixed = 'a'\npattern = 'b'", "O does not match the pattern", 0),
        ("[profile.a.subject]\nCN.max = 1\n'2.5.4.3'.max = 2", "CN and 2.5.4.3 are one", 1),
        ("[profile.a.subject]\ncn.max = 1\nCN.max = 2", "cn and CN are one attribute", 1),
        ("[profile.a]\nnot_after = 2099", "profile.a.not_after: a time with its zone", 2),
        ("[profile.a]\nother_attributes = 'drop'", "'allow', 'cut' or 'refuse'", 2),
        ("[profile.a.names]\nip.networks = ['10.0.0.1/8']", "names.ip.networks", 2),
        ("[profile.a.names]\ndns.networks = ['10.0.0.0/8']", "networks are for ip", 1),
        ("[profile.a.names]\nip.wildcards = true", "wildcards are for dns", 1),
        ("[profile.a.names]\ndns.suffixes = ['a b']", "'a b' is no domain", 2),
        ("[profile.a.names]\nupn.suffixes = ['ban\u212a.example']", "is no domain", 2),
        ("[profile.a.names]\ndns.min = 2\ndns.max = 1", "dns has a max below its min", 1),
        ("[profile.a.names]\nkinds = ['ip']\ndns.min = 1", "dns is not among the kinds", 1),
        ("[profile.a]\ncopied_extensions = ['2.5.29.19']", "basicConstraints is never", 2),
        ("[profile.a]\ncopied_extensions = ['1.3.6.1.4.1.311.25.2']", "security identifier", 2),
        ("[profile.a]\ncopied_extensions = ['1.3.6.1.4.1.311.21.11']", "policy mappings is", 2),
        ("[profile.a]\ncopied_extensions = ['x']", "'x' is no OID", 2),
        ("[[profile.a.extensions]]\noid = '1.2.3'\nvalue = '0c05'", "one element of DER", 3),
        ("[[profile.a.extensions]]\noid = '2.5.29.32'\nvalue = '0500'", "Policies is never", 2),
        ("[[profile.a.policies]]\noid = '1.2.3'\ncps = 'x y'", "policies.0.cps", 3),
        ("[profile.a]\nkey.weak = 'perhaps'", "'allow' or 'refuse'", 2),
        ("[profile.A]", "a name has 1 to 32", 0),
        ("[endpoint.default]\nprofile = 'devise'", "did you mean 'device'?", 2),
        (
            "[profile.a]\nextends = 'b'\n[profile.b]\nextends = 'c'\n[profile.c]\nextends = 'a'",
            "profile.a.extends: no profile can come of this: a extends b extends c extends a",
            2,
        ),
        ("[profile.a]\nextends = 'a'", "a extends a", 2),
    ],
)
def test_what_is_refused(load, tmp_path, text, said, line):
    """The error names the file, the key and the line."""
    for key, package in (("pattern", "re2"), ("template", "jinja2"), ("weak", "badkeys")):
        if f"{key} =" in text:
            pytest.importorskip(package, reason="pip install 'scepkit[profiles,badkeys]'")
    with pytest.raises(SettingsError) as refused:
        load(text)
    message = refused.value.message
    assert said in message
    assert str(tmp_path / "scep.toml") in message
    assert message.endswith(f"(line {line})" if line else message)
    assert errors.place_of(refused.value.__cause__, tmp_path / "scep.toml").line == line


@pytest.mark.parametrize(
    ("text", "said", "line"),
    [
        ("\nvalidty = '8h'", "did you mean `validity`?", 2),
        ("\n\n[key]\nkinds = ['des']", "profile.own.key.kinds", 4),
        ("\nvalidity = ]\n", "Invalid value", 2),
    ],
)
def test_what_is_refused_in_a_file_of_its_own(load, tmp_path, text, said, line):
    with pytest.raises(SettingsError) as refused:
        load(own=text)
    own = tmp_path / "profiles/own.toml"
    assert said in refused.value.message
    assert str(own) in refused.value.message
    place = errors.place_of(refused.value.__cause__, tmp_path / "scep.toml")
    assert (place.file, place.line) == (str(own), line)


def test_a_file_with_the_sections_of_scep_toml(load, tmp_path):
    """It is one profile, and says so."""
    with pytest.raises(SettingsError) as refused:
        load(own='[profile.own]\nvalidity = "8h"\n[profile.own.key]\nkinds = ["rsa"]')
    assert (
        refused.value.message == f"{tmp_path / 'profiles/own.toml'}: [profile.…] is for scep.toml"
    )
    assert refused.value.hint == (
        "the file is the profile 'own': leave [profile.own] out, "
        "and write [key] in place of [profile.own.key]"
    )


@pytest.mark.parametrize("name", ["My VPN", "VPN", "a" * 33, "a.b", "ü"])
def test_a_file_whose_name_is_no_profiles(load, tmp_path, name):
    with pytest.raises(SettingsError) as refused:
        load(**{name: 'validity = "8h"'})
    file = tmp_path / "profiles" / f"{name}.toml"
    assert refused.value.message == f"{file}: no profile can have that name"
    assert "1 to 32 of a-z, 0-9 and -" in refused.value.hint


def test_lists_that_lie_too_deep_in_each_other(load, tmp_path):
    """The reader of TOML goes down into each."""
    deep = "a = " + "[" * 5000 + "]" * 5000
    for text, profiles, file in ((deep, {}, "scep.toml"), ("", {"own": deep}, "profiles/own.toml")):
        with pytest.raises(SettingsError, match="too deep in each other") as refused:
            load(text, **profiles)
        assert str(tmp_path / file) in refused.value.message


def test_blocklists(load, tmp_path, monkeypatch):
    """One that several profiles name is read once; the bound holds for all together."""
    for name in ("one", "two"):
        (tmp_path / f"{name}.txt").write_text(name.encode().hex().ljust(64, "0"))
    found = load(
        "".join(
            f'[profile.p{n}]\nkey.blocklist = "{file}.txt"\n[endpoint.e{n}]\nprofile = "p{n}"\n'
            for n, file in enumerate(["one", "two", "one"])
        )
    )
    files = endpoint_files.read_all(found)
    assert files["e0"].blocked is files["e2"].blocked
    assert b"two".ljust(32, b"\0") in files["e1"].blocked
    assert files["default"].blocked is None
    said = endpoint_files.to_json(files)
    assert len(said["blocklists"]) == 2
    assert endpoint_files.of_json(json.loads(json.dumps(said))) == files
    monkeypatch.setattr(endpoint_files, "MOST", 1)
    with pytest.raises(SettingsError, match="the blocklists of all profiles have more than 1 keys"):
        endpoint_files.read_all(found)
    (tmp_path / "one.txt").unlink()
    with pytest.raises(SettingsError, match=r"cannot read .*one.txt: No such file"):
        endpoint_files.read_all(found)


def test_a_profile_in_two_places(load):
    with pytest.raises(SettingsError, match=r"own.toml: scep.toml has \[profile.own\], too"):
        load("[profile.own]\nvalidity = '8h'", own="validity = '8h'")


def test_what_the_endpoint_says_wins_and_is_told(load):
    found = load(
        "[profile.a]\nvalidity = '8h'\nkey.kinds = ['rsa', 'p256']\n[endpoint.default]\n"
        "validity_days = 3\n[endpoint.vpn]\nprofile = 'a'\nvalidity_days = 2\ncurves = []"
    )
    assert found.profile_of("vpn").validity == timedelta(days=2)
    assert found.profile_of("vpn").key.kinds == {"rsa"}
    assert [(one.winner, one.loser) for one in precedence.over_profiles(found)] == [
        ("validity_days in [endpoint.vpn]", "validity in the profile 'a'"),
        ("curves in [endpoint.vpn]", "key.kinds in the profile 'a'"),
    ]


@given(st.integers(1, 999_999), st.sampled_from("mhd"))
def test_lengths_of_time_are_read_as_they_are_written(number, unit):
    adapter = TypeAdapter(values.Duration)
    try:
        length = adapter.validate_python(f"{number}{unit}")
    except ValueError:
        return
    assert adapter.validate_python(values.show_duration(length)) == length


def _examples():
    return re.findall(r"```toml\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)


@pytest.fixture
def packages():
    """Skip where the packages of patterns and templates, or the tests of keys, are missing."""
    for package, extra in (("jinja2", "profiles"), ("re2", "profiles"), ("badkeys", "badkeys")):
        pytest.importorskip(package, reason=f"pip install 'scepkit[{extra}]'")


@pytest.mark.usefixtures("packages")
@pytest.mark.parametrize("example", _examples())
def test_the_examples_of_the_reference_are_settings(load, example):
    for name in load(example).endpoint:
        load(example).profile_of(name).compiled(name)


def test_the_reference_has_the_settings_that_say_the_same():
    text = PAGE.read_text("utf-8")
    for setting, key in PROFILE_KEYS.items():
        assert re.search(rf"^\| `{setting}` \| `{key}`", text, re.MULTILINE), setting


def test_the_reference_has_every_key_and_an_example_of_each():
    text, examples = PAGE.read_text("utf-8"), "\n".join(_examples())
    sections = tables(ProfileSettings, "profile")
    sections |= {
        "profile.subject.ATTRIBUTE": AttributeSettings.model_fields,
        "profile.policies.": PolicySettings.model_fields,
        "profile.extensions.": ExtensionSettings.model_fields,
    }
    for section, keys in sections.items():
        for key in keys:
            if section.endswith(".*"):
                continue
            name = f"{section}.{key}".removeprefix("profile.").replace("..", ".")
            if f"profile.{name}" in sections:
                assert re.search(rf"^\[profile[.][^.]+[.]{name}", examples, re.MULTILINE), name
            elif name == "subject":
                assert "[profile.staff.subject.CN]" in examples
            elif name in ("policies", "extensions"):
                assert re.search(rf"^\[\[profile[.]\w+[.]{name}\]\]", examples, re.MULTILINE)
            else:
                for kind in NAME_KINDS:
                    name = name.replace(f"names.{kind}.", "names.KIND.")
                assert f"`{name}`" in text, name
                assert re.search(rf"^{key} = ", examples, re.MULTILINE), name


# --- the ready ones -------------------------------------------------------------------------------

READY = {
    *("device", "vpn-client", "vpn-gateway", "wifi-eap-tls", "tls-server", "network-device"),
    *("apple", "windows-device", "windows-user"),
}


def test_the_ready_profiles_are_there(load):
    found = load("".join(f'[endpoint.{one}]\nprofile = "{one}"\n' for one in sorted(READY)))
    assert found.profile.keys() == READY
    for name in READY:
        profile = found.profile_of(name).compiled(name)
        assert profile.identity is name.startswith("windows-")
        assert profile.backdate == timedelta(hours=24 if name.startswith("windows-") else 5 / 60)
        assert found.profile[name].description
        shortens = found.profile[name].requested_validity == "shorten"
        assert shortens is name.startswith("windows-")


@pytest.mark.parametrize("text", ["", 'extends = "tls-server"', 'extends = "device"'])
def test_no_other_profile_is_for_log_ins(load, text):
    with pytest.raises(
        SettingsError, match="extends windows-device or windows-user is for log-ins"
    ):
        load(f"[profile.own]\nidentity = true\n{text}")


def test_what_extends_one_for_log_ins_is_for_log_ins(load):
    found = load(
        '[profile.staff]\nextends = "windows-user"\nidentity = true\n'
        '[profile.guests]\nextends = "staff"\nidentity = false\n'
        '[profile.windows-device]\nvalidity = "30d"'
    )
    again = settings.restore(found.model_dump(mode="json", exclude_none=True))
    for one in (found.profile, again.profile):
        assert one["staff"].compiled("staff").identity
        assert one["windows-device"].compiled("windows-device").identity
        assert not one["guests"].compiled("guests").identity


@pytest.mark.parametrize(
    ("text", "left_out"),
    [
        ("", []),
        ('san_types = ["dns", "upn"]', ["upn"]),
        (
            'allowed_eku = ["client_auth", "smartcard_logon", "1.3.6.1.5.2.3.5"]',
            ["smartcard_logon", "1.3.6.1.5.2.3.5"],
        ),
        ('default_eku = ["smartcard_logon"]', ["smartcard_logon"]),
        ('profile = "windows-user"\nsan_types = ["upn"]', []),
    ],
)
def test_settings_that_name_a_log_in_are_warned_of(load, logged, text, left_out):
    """They keep working; what they name is left out of certificates all the same."""
    log_ins.warn(load(f"[endpoint.default]\n{text}"))
    assert [one["left_out"] for one in logged] == ([left_out] if left_out else [])


@pytest.mark.parametrize(
    ("text", "warned"),
    [
        ('profile = "windows-user"', []),
        ('profile = "windows-user"\nchallenge = "none"\napproval = "manual"', ["none"]),
        ('profile = "device"\nchallenge = "none"\napproval = "manual"', []),
        ('profile = "own"\nchallenge = "static"\nchallenge_file = "x"', []),
    ],
)
def test_an_endpoint_for_log_ins_wants_challenges_that_name_somebody(load, logged, text, warned):
    own = 'extends = "windows-user"\nidentity = false'
    log_ins.warn(load(f"[endpoint.default]\n{text}", own=own))
    assert [one["challenge"] for one in logged] == warned
