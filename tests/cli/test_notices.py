"""The server's remark on what it has cut: in a line for people, in a list for programs."""

from __future__ import annotations

import json

ENROLL = ("--subject", "CN=dev1", "--out", "dev1")


def test_shown(serve, scep):
    site = serve()
    site.scep.headers = {"SCEP-Notice": "names.kinds;attribute=uri"}
    status, _, err = scep("enroll", site.url, *ENROLL, "--fingerprint", site.fingerprint)
    assert status == 0
    assert "the server remarks that it has cut: uri (names.kinds)\n" in err
    status, out, err = scep("renew", "dev1", "--force", "--json")
    assert status == 0
    assert json.loads(out)["notices"] == [{"rule": "names.kinds", "attribute": "uri"}]
    assert "remarks" in err
