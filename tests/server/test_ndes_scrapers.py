"""The NDES page, read by stand-ins for the programs that scrape it: each with its own pattern.

The patterns are those of /certsrv/mscep_admin/ scrapers in the field; none of them is our code.
"""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from scepkit.server.doors import ndes_page

CHALLENGE = "1ED0DD50F7459D6E"
LONG = "1ED0DD50F7459D6EA2DA5CF7CC153D9A"
THUMBPRINT = "A656FA66AB12B433A2DA5CF7CC153D9A01234567"


def fleet(body, content_type):
    """Fleet of today: what looks like UTF-16LE is, else as the charset says; up to a blank."""
    text = body.decode("utf-16-le" if _looks_like_utf_16(body) else _charset(content_type))
    return re.search(r"(?i)The enrollment challenge password is: <B> (?P<password>\S*)", text)[1]


def _looks_like_utf_16(body):
    return (
        body[:2] == b"\xff\xfe" or body[:2] == b"<\0" or body[1::2].count(0) > 0.9 * len(body) / 2
    )


def _charset(content_type):
    found = re.search(r"charset=([\w-]+)", content_type)
    return found[1] if found else "utf-8"


def fleet_of_before(body, _content_type):
    """Fleet of before: UTF-16, big-endian unless a byte order mark says otherwise."""
    little = body[:2] == b"\xff\xfe"
    text = body[2:].decode("utf-16-le") if little else body.decode("utf-16-be")
    return re.search(r"(?i)The enrollment challenge password is: <B> (?P<password>\S*)", text)[1]


def zentral(body, _content_type):
    """Zentral: the codec utf-16, which wants a byte order mark or the machine's own order."""
    return re.search(r"challenge password is: <B> ([A-Z0-9]{16,32}) </B>", body.decode("utf-16"))[1]


def zentral_for_okta(body, _content_type):
    """Zentral, for pages in an 8-bit encoding."""
    text = body.decode("windows-1252")
    return re.search(r"challenge password is: <B> ([a-zA-Z0-9_\-]+) </B>", text)[1]


def first_hex_word(length):
    """PSNDESEnrollment, and HPE's script for iLO: the first word of that many hex digits."""

    def scrape(body, _content_type):
        words = re.split(r"\s+", body.decode("utf-16"))
        return next(one for one in words if re.match(rf"^[A-F0-9]{{{length}}}", one))

    return scrape


def split_at_brackets(body, _content_type):
    """A tool in Python: the piece after the one that has the sentence at index 1."""
    pieces = body.decode("utf-16").split(">")
    at = next(
        number
        for number, piece in enumerate(pieces)
        if piece.find("The enrollment challenge password is: <B") == 1
    )
    return pieces[at + 1].replace("</B", "").strip()


def junos(body, _content_type):
    """A script for Junos: through BeautifulSoup, which writes tags in lower case."""
    written = []

    class Lower(HTMLParser):
        def handle_starttag(self, tag, _attributes):
            written.append(f"<{tag}>")

        def handle_data(self, data):
            written.append(data)

    Lower().feed(body.decode("utf-16"))
    return re.findall(r"<b> ([A-Z0-9]+) ", "".join(written))[-1]


def c_sharp(body, _content_type):
    """A client in C#: the next run of hex digits after the words."""
    return re.search(r"challenge password.*?([0-9A-Fa-f]{8,64})", body.decode("utf-16"))[1]


WIDE = [fleet, fleet_of_before, zentral, split_at_brackets, junos, c_sharp]


@pytest.mark.parametrize("challenge", [CHALLENGE, LONG])
@pytest.mark.parametrize("scrape", WIDE)
def test_each_scraper_finds_the_challenge(scrape, challenge):
    assert scrape(*page(challenge)) == challenge


@pytest.mark.parametrize("challenge", [CHALLENGE, LONG])
def test_no_other_word_could_be_the_challenge(challenge):
    assert first_hex_word(len(challenge))(*page(challenge)) == challenge


@pytest.mark.parametrize("scrape", [fleet, zentral_for_okta])
def test_the_page_in_utf_8_is_for_those_that_read_octets(scrape):
    assert scrape(*page(CHALLENGE, "utf-8")) == CHALLENGE


def test_the_page_begins_with_a_byte_order_mark():
    body, media_type = page(CHALLENGE)
    assert body.startswith(b"\xff\xfe<\0H\0T\0M\0L\0>\0")
    assert media_type == "text/html; charset=utf-16"


@pytest.mark.parametrize("sentence", [ndes_page.FULL, ndes_page.NO_PERMISSION])
def test_a_page_without_a_challenge_says_why(sentence):
    body, _ = ndes_page.encoded(ndes_page.error_page(sentence), "utf-16")
    text = body.decode("utf-16")
    assert sentence in text
    assert "challenge password" not in text


def test_the_sentences_of_the_errors_are_those_that_fleet_looks_for():
    assert ndes_page.FULL == "The password cache is full."
    assert ndes_page.NO_PERMISSION == "You do not have sufficient permission to enroll with SCEP."


def page(challenge, encoding="utf-16"):
    return ndes_page.encoded(ndes_page.challenge_page(challenge, THUMBPRINT, 60), encoding)
