"""How far clocks may differ before one of them is taken to have been wrong.

A clock can be ahead for a while, as that of a machine that starts without the right time. What was
stored meanwhile has times that are to come: once the clock is right, nobody waits for them.
"""

from __future__ import annotations

from datetime import timedelta

CLOCKS = timedelta(minutes=5)
"""The difference between the clocks of machines that share a database, at most."""
