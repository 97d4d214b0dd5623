"""A CA that its operator has named, by `[ca.NAME]` or `--ca-subject`, at every start."""

from __future__ import annotations

import tomllib
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from scepkit.ca.directory import rollover
from scepkit.errors import SettingsError, UsageError
from scepkit.server import settings as server_settings
from scepkit.server.directory import data_directory

SUBJECT = "CN=Example Device CA,O=Example,C=CH"
YEAR = timedelta(days=365)


@pytest.fixture
def start(tmp_path):
    """Start a server, as far as its directory goes."""

    def start(text=None, **how):
        place = tmp_path / "s"
        if text is not None:
            place.mkdir(mode=0o700, exist_ok=True)
            (place / "scep.toml").write_text(text)
        return data_directory.prepare(place, now=datetime.now(UTC), **how)

    return start


def named(subject):
    return {"ca": {"default": {"subject": subject}}}


def described(ca):
    return ca.certificate.subject.rfc4514_string()


def test_everything_that_can_be_chosen(start):
    home = start(
        f'[ca.default]\nsubject = "{SUBJECT}"\nkey = "ec:p384"\nyears = 20\npath_length = 1\n'
    )
    certificate = home.material.ca.certificate
    assert described(home.material.ca) == SUBJECT
    assert isinstance(certificate.public_key().curve, ec.SECP384R1)
    basic = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    assert basic.path_length == 1
    life = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    assert 20 * YEAR < life < 21 * YEAR
    assert home.material.layout == "ec"
    assert isinstance(home.material.ra.private_key, rsa.RSAPrivateKey)
    # And the same again.
    assert start().material.ca.certificate == certificate


def test_another_ca_than_the_default(start):
    home = start(
        '[endpoint.vpn]\nca = "vpn"\nlayout = "ec"\n[ca.vpn]\nsubject = "CN=VPN CA"\n'
        '[endpoint.default]\nlayout = "ec"\n'
    )
    assert described(home.authorities["vpn"].material.ca) == "CN=VPN CA"
    assert described(home.material.ca).startswith("CN=scepkit CA ")


def test_the_option_is_kept(start, tmp_path):
    """In a new scep.toml, where a later start finds it, and what is requested for the CA."""
    home = start(layout="ec", **named(SUBJECT))
    assert described(home.material.ca) == SUBJECT
    text = (tmp_path / "s/scep.toml").read_text("utf-8")
    assert tomllib.loads(text)["ca"] == {"default": {"subject": SUBJECT}}
    assert described(start().material.ca) == SUBJECT
    settings = server_settings.load(tmp_path / "s")
    assert settings.new_authority("default").subject.rfc4514_string() == SUBJECT


def test_a_ca_with_another_name(start):
    home = start(layout="ec")
    old = described(home.material.ca)
    with pytest.raises(SettingsError, match=f'is called "{old}", not "CN=Other"') as caught:
        start(**named("CN=Other"))
    assert "only a rollover changes it" in caught.value.hint


def test_after_a_rollover_the_name_of_before_is_right(start, tmp_path):
    """Else a server would not start after it; the key, the years and the path length go on."""
    start(f'[ca.default]\nsubject = "{SUBJECT}"\nkey = "ec:p384"\nyears = 20\npath_length = 1\n')
    place, now = tmp_path / "s", datetime.now(UTC)
    new = server_settings.load(place).new_authority("default")
    rollover.prepare(place, now=now, new=new)
    rollover.activate(place, now=now)
    certificate = start().material.ca.certificate
    assert certificate.subject.rfc4514_string().startswith("CN=Example Device CA G2")
    assert isinstance(certificate.public_key().curve, ec.SECP384R1)
    basic = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    assert basic.path_length == 1
    assert certificate.not_valid_after_utc - certificate.not_valid_before_utc > 20 * YEAR


@pytest.mark.parametrize(
    ("key", "layout"), [("ec:p256", "single"), ("ec:p256", "default"), ("rsa:3072", "ec")]
)
def test_a_key_that_does_not_go_with_the_layout(start, tmp_path, key, layout):
    """Said before anything is made."""
    with pytest.raises(UsageError, match=f"layout '{layout}' does not go with a CA key '{key}'"):
        start(f'[ca.default]\nkey = "{key}"\n', layout=layout)
    assert [one.name for one in (tmp_path / "s").iterdir()] == ["scep.toml"]


@pytest.mark.parametrize(
    ("subject", "said"),
    [
        ("nonsense", "is not a subject"),
        ("O=Example", "has no common name"),
        (f"CN={'x' * 62}", "cannot name a CA"),
    ],
)
def test_options_that_name_no_ca(scep, tmp_path, subject, said):
    where = ("--dir", tmp_path / "s", "--port", "0")
    status, _, err = scep("serve", "--ca-subject", subject, *where)
    assert status == 2
    assert said in err
    assert not (tmp_path / "s").exists()


def test_a_real_start(serve, tmp_path):
    server = serve(tmp_path / "s", "--ca-subject", SUBJECT, "--layout", "ec")
    assert server.shown_at()[-1].subject.rfc4514_string() == SUBJECT
    assert server.stop() == 0
