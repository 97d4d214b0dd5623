"""Wrong values fail in the caller's stack, with a hint."""

from __future__ import annotations

from datetime import datetime

import pytest

from scepkit.errors import UsageError
from scepkit.store.column_types import UTCDateTime


@pytest.mark.parametrize(
    "change",
    [
        {"transaction_id": b""},
        {"transaction_id": bytes(256)},
        {"signer_key": bytes(31)},
        {"fingerprint": b""},
        {"public_key": bytes(20)},
        {"serial": 0},
        {"serial": -1},
        {"serial": 1 << 159},
        {"now": datetime(2026, 1, 1)},  # noqa: DTZ001
    ],
)
def test_an_issuance_is_checked(issuance, change):
    with pytest.raises(UsageError) as caught:
        issuance(**change)
    assert caught.value.hint


@pytest.mark.parametrize("change", [{"mac": bytes(31)}, {"expires_at": datetime(2026, 1, 1)}])  # noqa: DTZ001
def test_a_challenge_is_checked(new_challenge, change):
    with pytest.raises(UsageError):
        new_challenge(**change)


def test_a_time_without_a_zone_never_reaches_the_database(store):
    with pytest.raises(ValueError, match="zone"):
        UTCDateTime().process_bind_param(datetime(2026, 1, 1), store._engine.dialect)  # noqa: DTZ001
