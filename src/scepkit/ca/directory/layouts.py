"""The choices of an operator for a new CA: the layout of its keys, its name, its life."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from scepkit.errors import UsageError

if TYPE_CHECKING:
    from datetime import timedelta

    from cryptography import x509


@dataclass(frozen=True, slots=True)
class Keys:
    """The kinds of keys of a layout, as `generate` takes them.

    Attributes:
        ca: the CA's.
        ra: the RA's; None: the CA's own key is the RA's.
    """

    ca: str
    ra: str | None


LAYOUTS = {
    "default": Keys("rsa:3072", "rsa:2048"),
    "ec": Keys("ec:p256", "rsa:2048"),
    "single": Keys("rsa:2048", None),
}


@dataclass(frozen=True, slots=True)
class NewCA:
    """A CA that is to be made, as far as its operator has chosen.

    Attributes:
        subject: its name; None for one that is made up.
        key: the kind of its key, as `generate` takes it; None for that of the layout.
        validity: of a certificate that it issues to itself; None for ten years.
        path_length: how many CAs may be below one another under it.
    """

    subject: x509.Name | None = None
    key: str | None = None
    validity: timedelta | None = None
    path_length: int = 0

    def keys(self, layout: str | None) -> Keys:
        """Return the kinds of its keys.

        Args:
            layout: a key of `LAYOUTS`; None for the one that goes with its key.

        Raises:
            UsageError: there is no such layout, or the key does not go with it.
        """
        key = self.key or kinds(layout or "default").ca
        found = kinds(layout or ("ec" if _is_ec(key) else "default"))
        if _is_ec(key) != _is_ec(found.ca):
            raise UsageError(
                f"the layout {layout!r} does not go with a CA key {key!r}",
                hint='leave the layout out; "ec" is for an EC key, the others are for RSA',
            )
        return Keys(key, found.ra)


USUAL = NewCA()


def kinds(layout: str) -> Keys:
    """Look a layout up.

    Raises:
        UsageError: there is none of that name.
    """
    found = LAYOUTS.get(layout)
    if found is None:
        raise UsageError(f"there is no layout {layout!r}", hint=f"one of {', '.join(LAYOUTS)}")
    return found


def _is_ec(key: str) -> bool:
    return key.startswith("ec:")
