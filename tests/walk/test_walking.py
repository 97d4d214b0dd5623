"""The walk itself: what it takes for the same, what it fails on, and how it edits settings."""

from __future__ import annotations

import os
import tomllib

import pytest

from interop.pages import Command, File, Page
from walk.shown import Shown
from walk.terminal import Terminal
from walk.test_pages import ELSEWHERE, HOW_TO
from walk.walking import settled, walk

SHOWN = "5ea88930fe78d2ba0fbfb7652772d13e"
CAME = "73a9108a613d0e69b00f18068b7c452d"


def test_a_value_of_the_page_stands_for_the_one_that_came():
    shown = Shown()
    shown.compare([f"{SHOWN}  CN=a  2026-11-22 13:03"], f"more\n{CAME} CN=a 2027-01-01 09:00\n")
    assert shown.replaced(f"scep admin revoke {SHOWN}") == f"scep admin revoke {CAME}"
    with pytest.raises(AssertionError):
        shown.compare([f"revoked {SHOWN}"], f"revoked {SHOWN}")


def test_a_value_within_another_one_is_part_of_it():
    shown = Shown()
    place = "2026-11-22T13:03:02.512004Z_{}_3fa4c2d1"
    shown.compare([SHOWN, f"--after {place.format(SHOWN)}"], f"{CAME}\n--after {place.format(1)}\n")
    assert shown.replaced(place.format(SHOWN)) == place.format(1)


def test_a_page_goes_on_with_the_values_of_the_page_before():
    before = Shown()
    before.compare([SHOWN], CAME)
    assert Shown(before).replaced(SHOWN) == CAME
    after = Shown(before)
    after.compare(["sha256:" + "a" * 64], "sha256:" + "b" * 64)
    assert before.replaced("a" * 64) == "a" * 64


ASKS = """\
#!/bin/sh
printf 'Really? [y/N]: ' >&2
read -r answer
[ "$answer" = y ] && echo done
"""


@pytest.fixture
def asking(tmp_path):
    """Walk a page with a command that asks, which shows some lines."""
    (tmp_path / "asks").write_text(ASKS)
    terminal = Terminal(tmp_path, tmp_path / "terminal", dict(os.environ))

    def walked(*lines):
        page = tmp_path / "page.md"
        page.write_text("\n".join(("```", "$ sh ./asks", *lines, "```", "")))
        walk(Page(page, {}), terminal, tmp_path)

    return walked


def test_a_question_gets_the_answer_of_the_page(asking):
    asking("Really? [y/N]: y", "done")


@pytest.mark.parametrize("lines", [("done",), ("Really? [y/N]: n", "done"), ()])
def test_a_question_that_the_page_does_not_answer_fails(asking, lines):
    with pytest.raises(AssertionError):
        asking(*lines)


def test_a_file_outside_the_walk_is_not_written(tmp_path):
    place = tmp_path / "outside.conf"
    (tmp_path / "walk").mkdir()
    page = tmp_path / "page.md"
    page.write_text(f"Write `{place}`:\n\n```ini\nx = 1\n```\n")
    with pytest.raises(AssertionError):
        walk(Page(page, {}), None, tmp_path / "walk")
    assert not place.exists()


@pytest.mark.parametrize("out", ["", "CN=b", f"x {SHOWN} CN=a"])
def test_other_output_is_noticed(out):
    with pytest.raises(AssertionError):
        Shown().compare([f"{SHOWN} CN=a"], out)


def test_commands_and_files_of_a_page(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "```\none \\\n    two\n```\nIn `a/scep.toml`:\n\n```toml\nx = 1\n```\n"
        "1. a list\n\n   ```\n   $ three\n   said\n   ```\n"
    )
    assert Page(page, {"three": "four"}).steps == [
        Command("one two"),
        File("toml", "a/scep.toml", "x = 1\n"),
        Command("four", ["said"]),
    ]
    assert Page(page, {}).under(None, "toml") == ["x = 1\n"]


def test_settings_are_put_where_they_belong():
    before = "# port = 1\nhost = 'a'\n[endpoint.default]\n# legacy = []\n"
    wanted = "port = 2\n[endpoint.default]\nlegacy = ['sha1']\n[endpoint.vpn]\nca = 'vpn'\n"
    assert tomllib.loads(settled(before, wanted)) == {
        "port": 2,
        "host": "a",
        "endpoint": {"default": {"legacy": ["sha1"]}, "vpn": {"ca": "vpn"}},
    }


def test_every_page_that_is_not_walked_exists():
    assert {page.name for page in HOW_TO.glob("*.md")} >= {*ELSEWHERE}
