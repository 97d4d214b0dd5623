"""Output that a page shows, beside output that came.

Pages show serial numbers, fingerprints and times of somebody else's server. Wherever a page shows
such a value, any of its kind may come; from then on the page means the one that came.
"""

from __future__ import annotations

import re

# The kinds of values that differ from run to run: those that later commands repeat, and the others.
_REPEATED = (
    r"\b\d{4}-\d\d-\d\dT[\d:.]+Z_[0-9a-f]+_[0-9a-f]{8}\b",
    r"sha256:[0-9a-f]{64}",
    r"\b[0-9a-f]{64}\b",
    r"\b[0-9a-f]{24,40}\b",
    r"\b[A-Z2-7]{32}\b",
    r"\b[0-9a-f]{16}\b",
    r"\b[0-9A-F]{16}\b",
    r"(?<=scepkit CA )[0-9a-f]{8}\b",
)
_PASSING = (
    r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?:[:.\d]*\+00:00)?",
    r"\b\d+\b",
)
_VALUE = re.compile("|".join(f"({kind})" for kind in (*_REPEATED, *_PASSING)))


class Shown:
    """The values that a page shows, and what came in their place.

    Args:
        before: the values of the page that this one goes on from.
    """

    def __init__(self, before=None):
        self._came = dict(before._came) if before else {}

    def replaced(self, text):
        """Return a command or a file of the page with the values that came."""
        for shown, came in sorted(self._came.items(), key=_length, reverse=True):
            text = text.replace(shown, came)
        return text

    def compare(self, lines, out):
        """Find the lines of the page in the output, and remember its values.

        Their order does not count: into a file, stdout comes later than stderr.

        Args:
            lines: what the page shows; a line that is `…` stands for any number of lines.
            out: what came, in which there may be more.

        Raises:
            AssertionError: a line of the page did not come.
        """
        came = out.splitlines()
        for line in lines:
            if line.strip() in ("", "…"):
                continue
            pattern, values = self._pattern(line)
            found = next(filter(None, map(pattern.fullmatch, came)), None)
            assert found, f"the page shows\n  {line}\nand there came\n{out}"
            came.remove(found[0])
            self._came.update(zip(values, found.groups(), strict=True))

    def _pattern(self, line):
        """Return the pattern of a line, and the values that its groups stand for."""
        pattern, values, read = "", [], 0
        for value in _VALUE.finditer(line):
            pattern += _literal(line[read : value.start()])
            kind = (*_REPEATED, *_PASSING)[value.lastindex - 1]
            if value[0] in self._came:
                pattern += re.escape(self._came[value[0]])
            elif kind in _REPEATED:
                pattern += f"({kind})"
                values.append(value[0])
            else:
                pattern += kind
            read = value.end()
        return re.compile(pattern + _literal(line[read:]) + r"\s*"), values


def _length(value):
    """Return the length of a value that is shown: a longer one may have a shorter one in it."""
    return len(value[0])


def _literal(text):
    """Return the pattern of text that has to come, but for blanks and `…`."""
    return re.sub(r"(?:\\\s|\s)+", r"\\s+", re.escape(text)).replace("…", ".*")
