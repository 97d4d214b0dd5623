"""Paths, CA identifiers and recipients: which endpoint a request is for."""

from __future__ import annotations

from pathlib import Path

import pytest

import forge
import keys
from scepkit.errors import HTTPRefused
from scepkit.server.endpoints.served import recipient_id
from scepkit.server.settings import EndpointSettings, Settings
from scepkit.server.web import scep

SETTINGS = Settings(
    directory=Path("nowhere"),
    endpoint={
        "vpn": EndpointSettings(ca="lab"),
        "wlan": EndpointSettings(ca="lab"),
        "mdm": EndpointSettings(),
    },
)


@pytest.mark.rfc("P-37", "S-4.1-1", "S-4.1-2")
@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/scep", None),
        ("/scep/", None),
        ("/scep/pkiclient.exe", None),
        ("/scep/cgi-bin/pkiclient.exe", None),
        ("/cgi-bin/pkiclient.exe", None),
        ("/cgi-bin/pkiclient.exe/", None),
        ("/cgi-bin/pkiclient.exe/pkiclient.exe", None),
        ("/pkiclient.exe", None),
        ("/scep/vpn", "vpn"),
        ("/scep/vpn/", "vpn"),
        ("/scep/VPN", "vpn"),
        ("/scep/vpn/pkiclient.exe", "vpn"),
        ("/scep/vpn/cgi-bin/pkiclient.exe", "vpn"),
        ("/scep/default", "default"),
        ("/cgi-bin/pkiclient.exe/vpn", "vpn"),
    ],
)
def test_a_path(path, name):
    """What devices append is ignored; the rest names an endpoint or leaves it open."""
    assert scep.name_by_path(path, str) == name


@pytest.mark.parametrize("appended", ["/", "/cgi-bin", "/pkiclient.exe", "/cgi-bin/pkiclient.exe/"])
def test_a_very_long_path(appended):
    """Every octet is looked at once: work that grows with the square would take hours here."""
    tail = appended * 300_000
    assert scep.name_by_path("/scep/vpn" + tail, str) == "vpn"
    for path in (tail + "/x", "/scep" + tail + "x", tail + "/scep", tail + "\n"):
        with pytest.raises(HTTPRefused):
            scep.name_by_path(path, str)


@pytest.mark.rfc("P-71")
@pytest.mark.parametrize(
    "path",
    [
        *("/", "/other", "/SCEP", "/scepx", "/scep/a/b", "/scep/../scep", "/scep/a b", "/scep/é"),
        *("//scep", "/scep.", "/scep/vpn\n", "/scep\n", "/pkiclient.exe/x", "/x/pkiclient.exe"),
        *("/CGI-BIN/pkiclient.exe/vpn", "/cgi-bin/vpn"),
    ],
)
def test_no_path_of_ours(path):
    """404."""
    with pytest.raises(HTTPRefused) as refused:
        scep.name_by_path(path, str)
    assert refused.value.status == 404


@pytest.mark.rfc("L-05", "P-38")
@pytest.mark.parametrize(
    ("identifier", "name"),
    [
        ("vpn", "vpn"),
        ("VPN", "vpn"),
        (" mdm ", "mdm"),
        ("lab", "vpn"),
        ("default", "default"),
        ("", None),
        ("0", None),
        ("CAIdentifier", None),
        ("my CA", None),
    ],
)
def test_an_identifier(identifier, name):
    """`message` selects an endpoint, or a CA, by its name; anything else is ignored."""
    authorities = {one: settings.ca for one, settings in SETTINGS.endpoint.items()}
    assert scep.name_by_identifier(identifier, authorities) == name


@pytest.mark.rfc("L-05")
def test_a_recipient():
    """A PKIOperation selects by the certificate that it is encrypted to; the default one wins."""
    default, lab = (
        keys.certify(name, keys.rsa_key(name), key_identifier=True) for name in ("one", "two")
    )
    known = {
        "default": (recipient_id(default.certificate),),
        "vpn": (recipient_id(lab.certificate),),
        "wlan": (recipient_id(lab.certificate),),
        "mdm": (recipient_id(default.certificate),),
    }
    for holder, name in ((default, "default"), (lab, "vpn"), (keys.ra(), "default")):
        assert scep.name_by_recipient(forge.request(recipient=holder), known) == name
    assert scep.name_by_recipient(b"", known) == "default"
