"""Values that requests are made of, and what is worked out of them when it is first asked for.

They are dataclasses which the type checker keeps from changing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar, dataclass_transform, overload

_T = TypeVar("_T")

# Not by `__dict__`: CPython makes that an object of its own when it is asked for, and from then on
# every field of the owner is looked up in there. Nor by `setattr`, which a frozen class refuses.
_keep = object.__setattr__


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


class once(Generic[_T]):  # noqa: N801 - a decorator, spelt like `property`
    """A property that is worked out once for each object.

    `functools.cached_property` of Python 3.11 takes a lock at the first look, which costs three
    times as much as all of this; a request takes some fifteen. Here two threads that ask at the
    same time may both work it out: what it gives must depend on nothing but the object.

    Args:
        work_out: returns the value.
    """

    def __init__(self, work_out: Callable[[Any], _T]) -> None:
        self._work_out = work_out
        self._name = work_out.__name__
        self.__doc__ = work_out.__doc__

    @overload
    def __get__(self, owner: None, kind: type) -> once[_T]: ...
    @overload
    def __get__(self, owner: object, kind: type) -> _T: ...
    def __get__(self, owner: object | None, kind: type) -> once[_T] | _T:
        """Return the value, and put it where it is found without this method from then on."""
        if owner is None:
            return self
        value = self._work_out(owner)
        _keep(owner, self._name, value)
        return value
