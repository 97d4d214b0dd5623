"""From settings to endpoints: profiles, rules, static challenges, files that cannot be used."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ObjectIdentifier
from cryptography.x509.ocsp import OCSPRequestBuilder
from cryptography.x509.oid import ExtendedKeyUsageOID

import keys
from scepkit.ca.directory.founding import create
from scepkit.enrolment.rules import GetCertRule
from scepkit.enrolment.third_parties import ThirdParties
from scepkit.errors import SettingsError, UsageError
from scepkit.keys.pem import read_certificate
from scepkit.server.directory import challenge_secrets, data_directory, endpoint_files
from scepkit.server.endpoints import assembly
from scepkit.server.settings.endpoint import EndpointSettings
from scepkit.server.settings.profiles.inheritance import ready
from scepkit.store import Store


@pytest.fixture
def assembled(directory):
    """Put the endpoints of a data directory together, with settings for the default one."""

    def assembled(prepare=lambda _path: None, parties=None, **settings):
        path = directory()
        prepare(path)
        home = data_directory.prepare(
            path, now=datetime.now(UTC), endpoint={"default": settings} if settings else None
        )
        with Store.open(home.settings.database_url) as store:
            third_parties = {"default": parties} if parties else {}
            return assembly.assemble(home, store, third_parties=third_parties)

    return assembled


def test_wrong_static_challenges_are_bounded(assembled):
    served = assembled(secret(b"x" * 40), **STATIC, wrong_challenges_per_minute=7)
    assert served["default"].scep._admission.tries._per_minute == 7


def test_one_time_challenges_are_not_counted(assembled):
    """They are 160 random bits: nobody guesses these."""
    assert assembled()["default"].scep._admission.tries is None


def rules(served):
    return served["default"].scep._rules


def test_an_endpoint_that_got_another_ca_answers_for_the_one_of_before(directory):
    """By OCSP; and a CA that nobody has any more, and cannot be read, stops no start."""
    path, now = directory(), datetime.now(UTC)
    first = {"default": {}, "vpn": {"ca": "vpn", "layout": "ec"}}
    data_directory.prepare(path, now=now, endpoint=first)
    ra, ca = (read_certificate(path / "ca-vpn" / file) for file in ("ra.pem", "ca.pem"))
    asked = OCSPRequestBuilder().add_certificate(ra, ca, SHA256()).build()
    create(path / "ca-over", "single", now=now - timedelta(days=8000))
    (path / "ca-junk").mkdir()
    (path / "ca-junk/ca.pem").write_text("junk")
    home = data_directory.prepare(path, now=now, endpoint={"default": {}, "vpn": {}})
    assert [*home.authorities] == ["default", "vpn"]
    assert [*home.unread] == ["junk"]
    assert "is not a certificate in PEM" in home.unread["junk"]
    with Store.open(home.settings.database_url) as store:
        served = assembly.assemble(home, store)
        assert [
            one.ocsp.answer(asked.public_bytes(Encoding.DER)).outcome for one in served.values()
        ] == ["good"] * 2


def test_a_fresh_server(assembled):
    """Renewal at any time, GetCert for owners, GetCRL, nothing else that has to be asked for."""
    found = rules(assembled())
    assert (found.approval, found.separate_keys, found.reply_chain) == (False, False, False)
    assert (found.get_cert, found.get_crl) == (GetCertRule.OWN, True)
    assert found.signing_time is None
    assert found.crl_lifetime == timedelta(hours=24)
    assert found.renewal.window is None
    assert found.renewal.grace == timedelta()
    assert not found.renewal.new_names
    assert found.renewal.anchors == ()


def test_every_rule(assembled):
    """Each setting arrives where it acts."""
    anchor = keys.ca()
    found = rules(
        assembled(
            lambda path: (path / "other.pem").write_bytes(anchor.x509.public_bytes(Encoding.PEM)),
            approval="manual",
            pending_days=3,
            pending_per_address=5,
            pending_requests=6,
            renewal_window_days=14,
            renewal_grace_days=2,
            renewal_new_names=True,
            renewal_anchors=["other.pem"],
            get_cert="all",
            get_crl=False,
            retrievals_per_minute=7,
            pbkdf2_rounds=2000,
            signing_time_minutes=5,
            separate_keys=True,
            reply_chain=True,
        )
    )
    assert found.approval
    assert found.pending_lifetime == timedelta(days=3)
    assert (found.pending_per_address, found.pending_requests) == (5, 6)
    assert found.renewal.window == timedelta(days=14)
    assert found.renewal.grace == timedelta(days=2)
    assert found.renewal.new_names
    assert found.renewal.anchors == (anchor.certificate,)
    assert (found.get_cert, found.get_crl) == (GetCertRule.ALL, False)
    assert found.retrievals_per_minute == 7
    assert found.pbkdf2_rounds == 2000
    assert found.signing_time == timedelta(minutes=5)
    assert found.separate_keys
    assert found.reply_chain


def test_no_renewal(assembled):
    assert rules(assembled(renewal=False)).renewal is None


def test_a_profile():
    """Names in scep.toml become what certificates are made of."""
    endpoint = EndpointSettings(
        validity_days=30,
        rsa_bits=(3072, 4096),
        curves=["p384", "ed25519"],
        key_usages=["digital_signature"],
        default_eku=["server_auth", "1.2.3.4"],
        allowed_eku=["server_auth"],
        san_types=["dns"],
    )
    profile = endpoint.changed(ready()["device"]).compiled("device")
    assert profile.validity == timedelta(days=30)
    assert profile.rsa_bits == (3072, 4096)
    assert profile.curves == {"secp384r1", "ed25519"}
    assert profile.key_usages == {"digital_signature"}
    assert profile.default_eku == (ExtendedKeyUsageOID.SERVER_AUTH, ObjectIdentifier("1.2.3.4"))
    assert profile.allowed_eku == {ExtendedKeyUsageOID.SERVER_AUTH}
    assert profile.san_types == {"dns"}


def secret(content, mode=0o600):
    def write(path):
        (path / "secret.txt").write_bytes(content)
        (path / "secret.txt").chmod(mode)

    return write


STATIC = {"challenge": "static", "challenge_file": "secret.txt"}


@pytest.mark.parametrize(
    ("prepare", "words"),
    [
        (lambda _: None, "is missing"),
        (secret(b"0123456789abcdef\n", 0o640), "can be read by others"),
        (secret(b"short\n"), "fewer than 8 characters"),
        (secret(b""), "fewer than 8 characters"),
        (secret(b"x" * 256), "more than the 255 characters"),
        (secret(b"\xff\xfe0123456789"), "is not text in UTF-8"),
    ],
)
def test_a_static_challenge_that_cannot_be_used(assembled, prepare, words):
    """One line that says what to do, and nothing of the secret in it."""
    with pytest.raises(SettingsError, match=words) as refused:
        assembled(prepare, **STATIC)
    assert refused.value.hint
    if "chmod" not in refused.value.hint:
        assert "(umask 077; scep admin challenge secret > " in refused.value.hint
    assert "short" not in str(refused.value)
    assert refused.value.__cause__ is None


@pytest.mark.parametrize(
    ("content", "is_weak"),
    [("correct-horse", True), ("0123456789abcdef", True), ("k4v7w2m9x3q8r5t6", False)],
)
def test_a_static_challenge_that_may_be_guessed(directory, logged, content, is_weak):
    """One line at the start, for however many endpoints; it names the file, never the secret."""
    path = directory()
    secret(content.encode())(path)
    home = data_directory.prepare(
        path, now=datetime.now(UTC), endpoint={"default": STATIC, "vpn": STATIC, "desk": {}}
    )
    files = endpoint_files.read_all(home.settings)
    challenge_secrets.warn_of_static(home.settings, endpoint_files.challenges(files))
    assert len(logged) == is_weak
    for line in logged:
        assert line["log_level"] == "warning"
        assert line["file"] == str(path / "secret.txt")
        assert f"scep admin challenge secret > {path / 'secret.txt'}" in line["hint"]
        assert content not in str(line)


@pytest.mark.parametrize(
    ("preset", "content", "is_warned_of"),
    [
        ("windows", "mj2x_7hq5wd3kzt9bnr8", True),
        ("windows", "mj2x 7hq5-wd3kzt9bnr8", False),
        ("windows", "mj2xé7hq5wd3kzt9bnr8", True),
        ("apple", "mj2x_7hq5wd3kzt9bnr8", False),
    ],
)
def test_a_static_challenge_that_windows_cannot_send(
    directory, logged, preset, content, is_warned_of
):
    """It makes a PrintableString of it or no request at all, so only the start can tell."""
    path = directory()
    secret(content.encode())(path)
    endpoint = {**STATIC, "preset": preset}
    home = data_directory.prepare(path, now=datetime.now(UTC), endpoint={"default": endpoint})
    files = endpoint_files.read_all(home.settings)
    challenge_secrets.warn_of_static(home.settings, endpoint_files.challenges(files))
    assert [line["endpoint"] for line in logged] == ["default"] * is_warned_of
    assert content not in str(logged)


def test_a_server_warns_of_a_static_challenge_when_it_starts(app, tmp_path, logged):
    file = tmp_path / "secret.txt"
    file.touch(0o600)
    file.write_text("correct-horse")
    app(endpoint={"default": {"challenge": "static", "challenge_file": str(file)}})
    said = [(line["file"], line["event"]) for line in logged if "file" in line]
    assert said == [
        (str(file), "a static challenge is short enough to be guessed"),
        (str(file), "a static challenge is kept in the clear"),
    ]


def test_a_static_challenge(assembled):
    """The first line counts, and the secret is in no repr."""
    served = assembled(secret(b"0123456789 abcdef\r\nmore"), **STATIC)["default"]
    rule = served.scep._admission.challenges
    assert rule.password(None) == "0123456789 abcdef"
    assert "0123" not in repr(rule)


@pytest.mark.parametrize("content", [b"", b"rubbish", b"-----BEGIN CERTIFICATE-----\n"])
def test_anchors_that_cannot_be_used(assembled, content):
    with pytest.raises(SettingsError, match="is not a certificate in PEM"):
        assembled(lambda path: (path / "a.pem").write_bytes(content), renewal_anchors=["a.pem"])


def test_an_endpoint_that_is_not_there(directory):
    home = data_directory.open_records(directory())
    with pytest.raises(UsageError, match="there is no endpoint 'vpn'") as refused:
        data_directory.endpoint_settings(home.settings, "vpn")
    assert refused.value.hint == "one of default"


class Party:
    """A third party that is never asked."""

    name = "MDM"
    key_hash = bytes(32)


@pytest.mark.parametrize("roles", [["teller"], ["issuer"], ["referee", "issuer", "teller"]])
def test_an_operator_does_not_approve_in_their_place(assembled, roles):
    """`scep admin approve` would pass over those that have their word after the signature."""
    with pytest.raises(SettingsError, match="does not go with a CA outside or a teller") as refused:
        assembled(approval="manual", parties=ThirdParties(**dict.fromkeys(roles, Party())))
    assert "'default'" in refused.value.message
    assert refused.value.hint


@pytest.mark.parametrize("approval", ["manual", "auto"])
def test_an_operator_approves_what_a_referee_has_judged(assembled, approval):
    assert assembled(approval=approval, parties=ThirdParties(referee=Party()))


TEMPLATE = '[profile.mdm.subject.OU]\ntemplate = "{{ service.data.ou }}"\n'
REPLACE = '[profile.mdm]\nsame_subject = "replace"\n'


@pytest.mark.parametrize(
    ("text", "more", "said"),
    [
        (TEMPLATE, {}, "needs the answer of a service"),
        (REPLACE, {"challenge": "none", "approval": "manual"}, "bound to no subject"),
    ],
)
@pytest.mark.parametrize("parties", [None, ThirdParties(), "referee"])
def test_a_profile_that_needs_a_service(assembled, text, more, said, parties):
    """Refused at the start where none is asked; a teller or a CA outside is none."""

    def prepare(path):
        (path / "scep.toml").write_text(text)

    if parties == "referee":
        referee = type("Referee", (), {"name": "MDM"})()
        assert assembled(prepare, ThirdParties(referee=referee), profile="mdm", **more)
        return
    with pytest.raises(SettingsError, match=said):
        assembled(prepare, parties, profile="mdm", **more)
