"""A peer that is not there is skipped in plain sight, and is a failure where CI runs."""

from __future__ import annotations

import pytest

from interop import building
from interop.programs import built, require

OUTCOMES = {"": pytest.skip.Exception, "true": pytest.fail.Exception}


@pytest.fixture(params=OUTCOMES)
def missed(request, monkeypatch):
    """Return what is raised for a peer that is missing."""
    monkeypatch.setenv("CI", request.param)
    return OUTCOMES[request.param]


def test_a_program_that_is_missing(missed):
    with pytest.raises(missed, match=r"^not installed: no-such; .*apt-get install .* scep "):
        require("sh", "no-such")


def test_a_peer_that_was_not_built(missed, monkeypatch, tmp_path):
    monkeypatch.setenv("SCEPKIT_PEERS", str(tmp_path))
    with pytest.raises(missed, match=r"^not built: step-ca-.*; make peers does it, with "):
        built(building.STEP_CA)
