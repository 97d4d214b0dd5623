"""The documentation says what is there: settings, commands, links, and nothing private."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
import typer

from scepkit.cli.app import app
from scepkit.server.settings import TEMPLATE, EndpointSettings, Settings
from scepkit.server.settings.ca import CASettings

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("bench/*.md")])
LINK = re.compile(r"\]\((?!https?://)([^)#]*)#?([^)]*)\)")
FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def test_every_setting_is_documented():
    text = (ROOT / "docs/reference/settings.md").read_text("utf-8")
    for name in [*Settings.model_fields, *EndpointSettings.model_fields, *CASettings.model_fields]:
        if name not in ("directory", "endpoint"):
            assert f"`{name}`" in text, name
            assert f"{name.upper()}`" in text, name


def test_the_settings_file_of_a_new_server_names_what_there_is():
    for name in [*Settings.model_fields, *EndpointSettings.model_fields, *CASettings.model_fields]:
        assert name in ("directory", "database") or name in TEMPLATE, name


@pytest.mark.parametrize("kind", [Settings, EndpointSettings, CASettings])
def test_each_setting_has_one_line_in_its_docstring(kind):
    described = re.findall(r"^ {8}(\w+): ", kind.__doc__, re.MULTILINE)
    assert sorted(described) == sorted(kind.model_fields)


def test_the_errors_of_the_servers_log_are_documented():
    text = (ROOT / "docs/reference/answers.md").read_text("utf-8")
    found = {one for path in (ROOT / "src/scepkit/server").rglob("*.py") for one in _errors(path)}
    assert found > {"server fault", "background task failed"}
    for event in found:
        assert f"`{event}`" in text, event


def _errors(path):
    """Yield the events that a file logs as errors, where they are written out."""
    for call in ast.walk(ast.parse(path.read_text("utf-8"))):
        match call:
            case ast.Call(func=ast.Attribute(attr="error" | "exception"), args=[ast.Constant(one)]):
                yield one


def test_the_commands_page_is_what_the_commands_say():
    subprocess.run([sys.executable, ROOT / "docs/commands.py", "--check"], check=True)


def test_the_commands_page_has_every_command():
    """`scep admin outbox` and `scep admin notification` were once left out."""
    text = (ROOT / "docs/reference/commands.md").read_text("utf-8")
    for words in _commands(typer.main.get_command(app)):
        assert f"\n## scep {words}\n" in text, words


def _commands(group, above=""):
    for name, one in group.commands.items():
        if one.hidden:
            continue
        if hasattr(one, "commands"):
            yield from _commands(one, f"{above}{name} ")
        else:
            yield above + name


def test_the_reference_of_the_library_is_what_the_docstrings_say():
    """Every public name stands in one of its sections."""
    subprocess.run([sys.executable, ROOT / "docs/library.py", "--check"], check=True)


def test_the_certificates_of_the_ready_profiles_are_what_is_issued():
    subprocess.run([sys.executable, ROOT / "docs/ready_profiles.py", "--check"], check=True)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for file, anchor in LINK.findall(FENCED.sub("", page.read_text("utf-8"))):
        target = page.parent / file if file else page
        assert target.exists(), f"{page.name} links to {file}"
        if anchor and target.suffix == ".md":
            assert anchor in _anchors(target), f"{page.name} links to {file}#{anchor}"


def test_the_architecture_page_names_files_that_are_there():
    """A file that moves takes its name on the page along."""
    text = (ROOT / "docs/architecture.md").read_text("utf-8")
    code = ROOT / "src/scepkit"
    tops = [ROOT, code, code / "server", code / "client"]
    named = set(re.findall(r"`([a-z_]+(?:/[a-z_0-9]+)+)(?:\.py)?`", text))
    assert len(named) > 50
    for name in named:
        places = [top / name for top in tops]
        assert any(one.exists() or one.with_suffix(".py").exists() for one in places), name


@cache
def _anchors(page):
    """Return what a link may name of a page: its headings as GitHub spells them, and <a id>."""
    text = FENCED.sub("", page.read_text("utf-8"))
    found = set(re.findall(r'<a id="([^"]+)"', text))
    for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE):
        plain = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).lower()
        found.add(re.sub(r"[^\w -]", "", plain).strip().replace(" ", "-"))
    return found


@pytest.mark.long
def test_the_conformance_page_is_what_the_tests_prove(tmp_path):
    page = tmp_path / "conformance.md"
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", f"--conformance={page}"]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    written = (ROOT / "docs/conformance.md").read_text("utf-8")
    assert page.read_text("utf-8") == written, "run make conformance"
