"""Values that requests are made of: dataclasses which the type checker keeps from changing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar, dataclass_transform

_T = TypeVar("_T")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def value(*, kw_only: bool = False, keeps: bool = False) -> Callable[[type[_T]], type[_T]]:
    """Make a class a dataclass whose fields nobody assigns to.

    The type checker holds that, as with `frozen=True`. Python does not: it would set every field by
    a call of its own, which takes four times as long, and a request has some fifty.

    Args:
        kw_only: whether the fields are given by name alone.
        keeps: whether it keeps what is worked out later (`once`), for which there are no slots.
    """
    return dataclass(slots=not keeps, kw_only=kw_only, unsafe_hash=True)
