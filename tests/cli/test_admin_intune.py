"""`scep admin intune test`: each step, and what is missing in Entra's own words."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from scepkit.server.directory import data_directory
from server.intune import Running, program
from server.live import scep_here


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    with Running() as intune:
        path = tmp_path_factory.mktemp("intune") / "scep-data"
        path.mkdir(mode=0o700)
        (path / "scep.toml").write_text(
            f'[intune.corp]\ntenant = "{program.TENANT}"\nclient_id = "{program.CLIENT_ID}"\n'
            f'secret_file = "intune.secret"\nauthority_url = "{intune.url}/login"\n'
            f'graph_url = "{intune.url}/graph"\nresource_url = "{intune.url}/resource/"\n'
        )
        secret = path / "intune.secret"
        secret.write_text(program.SECRET)
        secret.chmod(0o600)
        data_directory.prepare(path, now=datetime.now(UTC))
        yield intune, path


@pytest.fixture
def intune(made):
    made[0].forget()
    return made[0]


@pytest.fixture
def tried(made):
    def tried(name="corp", *more):
        return scep_here("admin", "intune", "test", name, "--dir", made[1], *more)

    return tried


def test_all_that_is_needed_is_there(intune, tried):
    done = tried("corp", "--json")
    assert done.returncode == 0
    steps = [json.loads(one) for one in done.stdout.splitlines()]
    assert [one["step"] for one in steps] == [
        "token for Graph",
        "token for Intune",
        "validation service",
        "revocation queue",
        "validation",
    ]
    assert all(one["good"] for one in steps)
    assert steps[-1]["said"].startswith("refused, as it has to be: ChallengeDecodingError (")
    assert program.SECRET not in done.stdout + done.stderr
    assert len(intune.asked("validate")) == 1


@pytest.mark.parametrize(
    ("role", "step", "hint"),
    [
        (program.INTUNE_ROLE, "token for Graph", "Application.Read.All, and Grant admin consent"),
        (program.GRAPH_ROLE, "token for Intune", "scep_challenge_provider, and Grant admin"),
    ],
)
def test_a_permission_without_consent(intune, tried, role, step, hint):
    intune.it.roles = (role,)
    done = tried()
    assert done.returncode == 1
    assert f"error: {step}: given, without the permission" in done.stderr
    assert hint in " ".join(done.stderr.split())


def test_a_secret_that_is_wrong(intune, tried):
    intune.it.secret = "another one"
    done = tried()
    assert done.returncode == 1
    assert "AADSTS7000215" in done.stderr
    assert "copy the Value, not the Secret ID" in " ".join(done.stderr.split())


def test_without_a_revocation_queue_one_can_do(intune, tried):
    intune.fault("discovery", f"without:{program.CONNECTOR}", -1)
    done = tried()
    assert done.returncode == 0
    assert "certificates are not revoked for Intune" in done.stdout


def test_a_service_that_agrees_to_everything_is_not_intune(intune, tried):
    intune.fault("validate", "code:Success")
    done = tried()
    assert done.returncode == 1
    assert "Intune agrees to a request that is nobody's" in done.stderr


def test_a_name_that_is_not_there(intune, tried):
    done = tried("corb")
    assert done.returncode == 2
    assert "there is no [intune.corb] in scep.toml" in done.stderr
    assert "hint: there is corp\n" in done.stderr


def test_a_server_without_any(tmp_path):
    data_directory.prepare(tmp_path / "s", now=datetime.now(UTC))
    done = scep_here("admin", "intune", "test", "corp", "--dir", tmp_path / "s")
    assert done.returncode == 2
    assert "hint: write one for the app registration\n" in done.stderr
