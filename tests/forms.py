"""The long form of a test: parameters that only `--long` adds."""

from __future__ import annotations

import pytest


def short_and_long(*short, of):
    """Return parameters: those that are named in both forms, all others in the long form alone.

    Args:
        short: some of the values.
        of: all values, in their order.
    """
    return [pytest.param(one, marks=() if one in short else pytest.mark.long) for one in of]
