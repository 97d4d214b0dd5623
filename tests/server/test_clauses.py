"""Rows of the checklist about what a server offers to everybody."""

from __future__ import annotations

import socket
import ssl

import pytest

from waiting import PATIENCE

MANDATORY = {"AES", "POSTPKIOperation", "SHA-256", "SCEPStandard"}


@pytest.mark.rfc("S-3.5-1", "S-2.9-1")
@pytest.mark.parametrize("path", ["/scep", "/scep/", "/cgi-bin/pkiclient.exe"])
def test_getcacaps_is_answered(live, path):
    """GetCACaps is answered at every path of an endpoint, with all that every server must do."""
    answer = live.ask(f"{path}?operation=GetCACaps")
    assert (answer.status, answer.headers["content-type"]) == (200, "text/plain")
    assert set(answer.text.split()) >= MANDATORY


@pytest.mark.rfc("P-41", "S-7.10-1")
def test_no_client_is_asked_for_a_tls_certificate(live):
    """The server speaks plain HTTP, so nobody is asked for a client certificate (RFC 8894 7.10)."""
    with socket.create_connection(("127.0.0.1", live.port), timeout=PATIENCE) as connection:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        with pytest.raises(ssl.SSLError):
            context.wrap_socket(connection, server_hostname="a")
