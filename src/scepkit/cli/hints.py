"""Options that may help when a CA refuses a request, added to the hints of the protocol."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from scepkit.client import keys
from scepkit.errors import FailInfo, RequestRefused, TransportError

if TYPE_CHECKING:
    from scepkit.client.orders import Order

_INTERNAL_ERROR = 500


@contextmanager
def fitting(order: Order) -> Iterator[None]:
    """Name the options that may help in the hint of a refusal.

    Args:
        order: what is asked for inside of the block.
    """
    try:
        yield
    except (RequestRefused, TransportError) as error:
        option = _option(error, order)
        if option and error.hint:
            error.hint = f"{error.hint} ({option})"
        raise


def _option(error: RequestRefused | TransportError, order: Order) -> str:
    """Return the option; "" when none is known to help."""
    if isinstance(error, RequestRefused):
        if error.failure.fail_info is FailInfo.badMessageCheck and not error.failure.hresult:
            return "--challenge-file FILE"
        about_key = error.failure.fail_info is FailInfo.badAlg
    else:
        about_key = error.status == _INTERNAL_ERROR
    csr = order.request.csr
    if not about_key or keys.kind(csr.public_key).startswith("rsa:"):
        return ""
    if isinstance(error, RequestRefused) and csr.challenge_password is None:
        return "--challenge-file FILE, or --key rsa:2048"
    return "--key rsa:2048"
