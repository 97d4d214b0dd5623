"""A peer that is not installed is skipped in plain sight, and is a failure where CI runs."""

from __future__ import annotations

import pytest

from interop.programs import require

OUTCOMES = {"": pytest.skip.Exception, "true": pytest.fail.Exception}


@pytest.mark.parametrize("ci", OUTCOMES)
def test_a_program_that_is_missing(monkeypatch, ci):
    monkeypatch.setenv("CI", ci)
    with pytest.raises(OUTCOMES[ci], match=r"^not installed: no-such; .*apt-get install .* scep "):
        require("sh", "no-such")
