"""Patterns that names have to match as a whole, in a time that grows with the name alone.

What matches is a stranger's text. The engine is RE2, which never goes back: no pattern of an
operator makes a name take for ever. It has no look-around and no references back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from scepkit.ca.profiles.extras import needed
from scepkit.errors import SettingsError

_MEMORY = 8 << 20  # octets that a compiled pattern may take


@dataclass(frozen=True, slots=True)
class Pattern:
    """A pattern, compiled.

    Attributes:
        text: as it is written.
    """

    text: str
    _compiled: Any

    @classmethod
    def of(cls, text: str) -> Pattern:
        """Compile a pattern.

        Raises:
            SettingsError: it is none, or too large; or the engine is not installed.
        """
        re2 = needed("re2", "a pattern")
        options = re2.Options()
        options.log_errors, options.max_mem = False, _MEMORY
        try:
            return cls(text, re2.compile(text, options))
        except re2.error as error:
            said = error.args[0] if error.args else "it cannot be compiled"
            said = said.decode("utf-8", "replace") if isinstance(said, bytes) else said
            raise SettingsError(f"{text!r} is no pattern: {said}") from error

    def matches(self, text: str) -> bool:
        """Say whether the whole of a text is what the pattern describes."""
        try:
            return self._compiled.fullmatch(text) is not None
        except UnicodeEncodeError:  # halves of surrogate pairs
            return False
