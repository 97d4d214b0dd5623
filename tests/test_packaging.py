"""The source distribution and the wheel: what is in them, and that both are good for use."""

from __future__ import annotations

import email
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NOT_RELEASED = {".ci", ".gitignore"}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A directory with the source distribution and the wheel."""
    directory = tmp_path_factory.mktemp("built")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-d", directory], cwd=ROOT, check=True
    )
    return directory


@pytest.fixture(scope="module")
def unpacked(built, tmp_path_factory):
    """The source distribution, unpacked."""
    directory = tmp_path_factory.mktemp("unpacked")
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        # Debian 12's Python is older than the filter, and 3.12 to 3.13 warn where none is named.
        archive.extractall(
            directory, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {})
        )
    (root,) = directory.iterdir()
    return root


@pytest.fixture(scope="module")
def wheel(built):
    (wheel,) = built.glob("*.whl")
    return wheel


def run(*command, cwd):
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_source_distribution_has_every_file_of_the_repository(unpacked):
    if not shutil.which("git") or not (ROOT / ".git").exists():
        pytest.skip("no repository here, such as in a source distribution")
    tracked = run("git", "ls-files", cwd=ROOT).splitlines()
    missing = [
        name
        for name in tracked
        if Path(name).parts[0] not in NOT_RELEASED
        and (ROOT / name).exists()
        and not (unpacked / name).exists()
    ]
    assert not missing


def test_the_tests_run_from_an_unpacked_source_distribution(unpacked):
    command = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/cli/test_help.py"]
    out = run("env", f"PYTHONPATH={unpacked / 'src'}", sys.executable, *command, cwd=unpacked)
    assert "passed" in out
    run("make", "--dry-run", "demo", "test", "lint", cwd=unpacked)


def test_the_wheel_holds_the_package_alone(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0].split("-")[0] for name in names} == {"scepkit"}
    assert "scepkit/py.typed" in names
    assert not [name for name in names if "__pycache__" in name or "test" in name]


def test_the_client_alone_brings_what_names_of_other_letters_take(wheel):
    """urllib3 asks for idna where a host's name is not ASCII, and does not bring it."""
    needed = [one for one in metadata_of(wheel).get_all("Requires-Dist") if "extra" not in one]
    assert any(one.startswith("urllib3") for one in needed)
    assert any(one.startswith("idna") for one in needed)


def metadata_of(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        return email.message_from_string(archive.read(name).decode())


def test_no_link_of_the_description_leads_nowhere(wheel):
    metadata = metadata_of(wheel)
    assert metadata["Description-Content-Type"] == "text/markdown"
    description = metadata.get_payload()
    assert "# scepkit" in description
    links = re.findall(r"\]\(([^)]+)\)", description)
    assert links
    assert not [link for link in links if not link.startswith("https://")]
    for url in metadata.get_all("Project-URL") or []:
        assert re.fullmatch(r"\w+, https://\S+", url)


def test_links_lead_into_the_repository_once_it_has_an_address(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))
    from hatch_build import addressed

    text = "[guide](docs/guide.md#1-install) [how-to](docs/how-to) [why](#why) [l](LICENSE)"
    assert addressed(text, "https://h.example/o/scepkit", "v1") == (
        "[guide](https://h.example/o/scepkit/blob/v1/docs/guide.md#1-install)"
        " [how-to](https://h.example/o/scepkit/tree/v1/docs/how-to) why"
        " [l](https://h.example/o/scepkit/blob/v1/LICENSE)"
    )
    assert addressed(text, "", "v1") == (
        "guide (`docs/guide.md`) how-to (`docs/how-to`) why l (`LICENSE`)"
    )


def test_the_wheel_installs_and_runs(wheel, tmp_path):
    venv.create(tmp_path / "venv", symlinks=True)
    python = tmp_path / "venv/bin/python"
    run(
        *(sys.executable, "-m", "uv", "pip", "install", "--quiet", "--offline", "--no-deps"),
        *("--python", python, wheel),
        cwd=tmp_path,
    )
    # Its dependencies are this environment's, which a .pth adds without this environment's scepkit.
    (site,) = tmp_path.glob("venv/lib/python*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    version = run(tmp_path / "venv/bin/scep", "--version", cwd=tmp_path)
    assert version.startswith("scepkit ")
    where = run(python, "-c", "import scepkit; print(scepkit.__file__)", cwd=tmp_path)
    assert where.startswith(str(tmp_path))
