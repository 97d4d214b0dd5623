"""`[intune.NAME]` and rules of kind `intune`: refused at start, or what becomes of them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

import keys
from scepkit.enrolment.challenges.service import ServiceChallenge
from scepkit.errors import SettingsError
from scepkit.server import settings
from scepkit.server.directory import data_directory, endpoint_files
from scepkit.server.endpoints import assembly
from scepkit.server.intune.connections import in_use, registration_of
from scepkit.server.web.health import Conditions, Word
from scepkit.store import Store

NAME = '[intune.corp]\ntenant = "contoso.example"\nclient_id = "1111-2222"\n'
CORP = f'{NAME}secret_file = "intune.secret"\n'
RULE = '[[endpoint.windows.authorization]]\nkind = "intune"\nregistration = "corp"\n'
ENDPOINT = '[endpoint.windows]\nprofile = "windows-device"\n'
BOTH = CORP + ENDPOINT + RULE


def load(path, text):
    (path / "scep.toml").write_text(text)
    return settings.load(path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (RULE, "there is no [intune.corp]; write one"),
        (BOTH.replace("[intune.corp]", "[intune.corb]"), "did you mean 'corb'?"),
        (f'{BOTH}approval = "manual"\n', 'approval = "manual" does not go with Intune'),
        (
            f'{BOTH}[[endpoint.windows.authorization]]\nkind = "certificate"\n',
            'a rule of kind = "intune" stands alone',
        ),
        (
            f'{BOTH}[[endpoint.windows.authorization]]\nkind = "approval"\n',
            'a rule of kind = "intune" stands alone',
        ),
        (CORP + ENDPOINT + "reply_chain = true\n" + RULE, "reply_chain = true does not go with"),
        (CORP + ENDPOINT + "separate_keys = true\n" + RULE, "separate_keys = true does not go"),
        (
            CORP + ENDPOINT + "revocation_passphrase = true\n" + RULE,
            "revocation_passphrase = true does not go with",
        ),
        (f'{CORP}graph_url = "http://graph.example"\n', "it has to be an https URL"),
        (f'{CORP}graph_url = "https://u@graph.example"\n', "and no user, password"),
        (f'{CORP}graph_url = "https://graph.example?a=b"\n', "and no query"),
        (f'{CORP}graph_url = "https://graph.example:44a"\n', "it is no URL"),
        (f'{CORP}graph_url = "https://graph.example/a b"\n', "characters that are in no URL"),
        (f'{CORP}proxy = "proxy.example:3128"\n', "the http URL of a proxy"),
        (f'{CORP}proxy = "http://proxy.example:port"\n', "it is no URL"),
        (f'{CORP}tenant_id = "x"\n'.replace("tenant =", "tenant_ ="), "no setting"),
        ('[intune."A B"]\ntenant = "a"\nclient_id = "b"\n', "a name has 1 to 32 of a-z"),
        ('[intune.corp]\nclient_id = "b"\n', "intune.corp.tenant has to be there"),
        (f"{CORP}secret = 'x'\n", "there is no setting `intune.corp.secret`"),
    ],
)
def test_what_leaves_something_open_is_refused(tmp_path, text, said):
    with pytest.raises(SettingsError) as refused:
        load(tmp_path, text)
    assert said in refused.value.message


def test_the_usual_urls_are_those_of_the_public_cloud(tmp_path):
    found = registration_of(load(tmp_path, BOTH), "corp", "s3cret")
    token = "https://login.microsoftonline.com/contoso.example/oauth2/v2.0/token"
    assert found.token_url == token
    assert found.graph_scope == "https://graph.microsoft.com/.default"
    assert found.intune_scope == "https://api.manage.microsoft.com//.default"
    assert found.endpoints_url == (
        "https://graph.microsoft.com/v1.0/servicePrincipals/"
        "appId=0000000a-0000-0000-c000-000000000000/endpoints"
    )
    assert "s3cret" not in repr(found)


def test_those_of_another_cloud_may_be_set_with_or_without_a_slash(tmp_path):
    text = (
        f'{CORP}authority_url = "https://login.microsoftonline.us/"\n'
        'graph_url = "https://graph.microsoft.us/"\nresource_url = "https://api.manage.example"\n'
    )
    found = registration_of(load(tmp_path, text), "corp", "s3cret")
    assert found.token_url.startswith("https://login.microsoftonline.us/contoso.example/")
    assert found.graph_scope == "https://graph.microsoft.us/.default"
    assert found.intune_scope == "https://api.manage.example//.default"


def test_the_secret_is_in_a_file_that_nobody_else_reads(tmp_path):
    found = load(tmp_path, BOTH)
    with pytest.raises(SettingsError, match=r"intune.secret is missing"):
        endpoint_files.read_all(found)
    path = tmp_path / "intune.secret"
    path.write_text("s3cret\n")
    path.chmod(0o644)
    with pytest.raises(SettingsError, match="can be read by others"):
        endpoint_files.read_all(found)
    path.chmod(0o600)
    files = endpoint_files.read_all(found)
    assert files["windows"].intune == "s3cret"
    assert "s3cret" not in repr(files)
    assert endpoint_files.of_json(endpoint_files.to_json(files)) == files


def test_or_it_is_a_credential_of_systemd(tmp_path, monkeypatch):
    found = load(tmp_path, NAME + ENDPOINT + RULE)
    with pytest.raises(SettingsError, match="nothing says where the client secret"):
        endpoint_files.read_all(found)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    path = tmp_path / "scep-intune-corp"
    path.write_text("s3cret\n")
    path.chmod(0o440)
    assert endpoint_files.read_all(found)["windows"].intune == "s3cret"


@pytest.fixture
def home(directory):
    path = directory("ec")
    (path / "scep.toml").write_text(BOTH + "[endpoint.mac]\n" + RULE.replace("windows", "mac"))
    (path / "intune.secret").write_text("s3cret\n")
    (path / "intune.secret").chmod(0o600)
    data_directory.prepare(path, now=datetime.now(UTC))
    return data_directory.open_existing(path, now=datetime.now(UTC))


@pytest.fixture
def store(home):
    with Store.open(home.settings.database_url) as store:
        yield store


def test_endpoints_share_a_registration(home, store):
    assert in_use(home.settings) == {"corp": ("windows", "mac")}
    served = assembly.assemble(home, store)
    admissions = [served[name].scep._admission for name in ("windows", "mac")]
    parties = [one.consultation.parties for one in admissions]
    assert parties[0].referee.client is parties[1].referee.client
    assert parties[0].teller.waits
    for one in admissions:
        assert one.rules.renewal is None
        assert isinstance(one.challenges, ServiceChallenge)
    assert served["default"].scep._admission.consultation is None


def test_an_ra_that_does_not_chain_to_its_ca_is_refused(home, store):
    ca = home.authorities["default"]
    other = keys.ra()
    ra = replace(ca.material.ra, certificate=other.x509, private_key=other.key)
    foreign = replace(ca, material=replace(ca.material, ra=ra))
    with pytest.raises(SettingsError, match="is not certified by that CA"):
        assembly.assemble(
            replace(home, authorities={**home.authorities, "default": foreign}), store
        )


@pytest.mark.parametrize(
    ("days", "said"), [(31, None), (30, "expires on"), (1, "expires on"), (0, "expired on")]
)
def test_a_secret_that_expires_is_reported(home, store, days, said):
    now = datetime(2026, 11, 29, 12, tzinfo=UTC)
    day = (now + timedelta(days=days)).date()
    corp = home.settings.intune["corp"].model_copy(update={"secret_expires": day})
    conditions = Conditions(
        home.settings.model_copy(update={"intune": {"corp": corp}}),
        store,
        authorities=lambda: home.authorities,
        unreadable=lambda: None,
        crl_problems=lambda: (),
        log_is_lost=lambda: False,
        now=lambda: now,
    )
    found = [one for one in conditions.find() if "client secret" in one.reason]
    assert [one.word for one in found] == ([Word.DEGRADED] if said else [])
    assert all(f"{said} {day}" in one.reason for one in found)
