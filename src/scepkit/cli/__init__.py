"""The command `scep`."""

from scepkit.cli.app import main

__all__ = ["main"]
