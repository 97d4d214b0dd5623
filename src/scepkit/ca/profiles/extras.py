"""The packages that only some profiles or rules need."""

from __future__ import annotations

import importlib
from typing import Any

from scepkit.errors import SettingsError

_EXTRAS = {"jinja2": "profiles", "re2": "profiles", "badkeys": "badkeys", "aiohttp": "webhook"}


def needed(module: str, what: str) -> Any:
    """Import a package that a profile needs.

    Args:
        module: the package.
        what: what needs it, as a sentence begins.

    Raises:
        SettingsError: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module:
            raise
        raise SettingsError(
            f"{what} needs the package {module}, which is not installed",
            hint=f"pip install 'scepkit[{_EXTRAS[module.partition('.')[0]]}]'",
        ) from error
