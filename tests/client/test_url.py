"""URLs as people write them."""

from __future__ import annotations

import pytest

from scepkit.client.trust import normalize_url
from scepkit.errors import UsageError


@pytest.mark.rfc("S-4.1-1")
@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("http://ca.example", "http://ca.example/cgi-bin/pkiclient.exe"),
        ("http://ca.example/", "http://ca.example/"),
        ("http://ca.example/scep", "http://ca.example/scep"),
        ("HTTPS://ca.example:8443/scep?a=b#c", "https://ca.example:8443/scep?a=b"),
        (" http://[::1]:8080/scep\n", "http://[::1]:8080/scep"),
    ],
)
def test_a_url(text, url):
    """The path is /cgi-bin/pkiclient.exe unless told otherwise."""
    assert normalize_url(text) == url


@pytest.mark.parametrize(
    "text", ["", "ca.example", "ca.example:8080/scep", "ftp://ca.example/", "http:///scep"]
)
def test_no_url(text):
    with pytest.raises(UsageError, match="not the URL of a SCEP server") as caught:
        normalize_url(text)
    assert "http://" in caught.value.hint


@pytest.mark.parametrize(
    "text", ["http://ca.example:x/", "http://ca.example:99999/", "http://[::1"]
)
def test_an_unreadable_url(text):
    with pytest.raises(UsageError, match="cannot be read"):
        normalize_url(text)


def test_a_password_is_not_repeated():
    with pytest.raises(UsageError, match="not supported") as caught:
        normalize_url("http://user:hunter2@ca.example/")
    assert "hunter2" not in f"{caught.value.message}{caught.value.hint}"
