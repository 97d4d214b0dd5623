"""The walk itself: what it takes for the same, what it fails on, and how it edits settings."""

from __future__ import annotations

import tomllib

import pytest

from interop.pages import Command, File, Page
from walk.shown import Shown
from walk.test_pages import ELSEWHERE, HOW_TO, NOT_YET
from walk.walking import settled

SHOWN = "5ea88930fe78d2ba0fbfb7652772d13e"
CAME = "73a9108a613d0e69b00f18068b7c452d"


def test_a_value_of_the_page_stands_for_the_one_that_came():
    shown = Shown()
    shown.compare([f"{SHOWN}  CN=a  2026-11-22 13:03"], f"more\n{CAME} CN=a 2027-01-01 09:00\n")
    assert shown.replaced(f"scep admin revoke {SHOWN}") == f"scep admin revoke {CAME}"
    with pytest.raises(AssertionError):
        shown.compare([f"revoked {SHOWN}"], f"revoked {SHOWN}")


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
    assert {page.name for page in HOW_TO.glob("*.md")} >= {*ELSEWHERE, *NOT_YET}
