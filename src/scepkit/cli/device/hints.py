"""Options that may help when a CA refuses a request, added to the hints of the protocol."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from scepkit.client import keys
from scepkit.errors import FailInfo, RequestRefused, TransportError
from scepkit.protocol.scep.messages import PKCSReq

if TYPE_CHECKING:
    from scepkit.client.prepared_request import PreparedRequest


@contextmanager
def fitting(order: PreparedRequest) -> Iterator[None]:
    """Name the options that may help in the hint of a refusal.

    Args:
        order: what is asked for inside of the block.
    """
    try:
        yield
    except (RequestRefused, TransportError) as error:
        *some, last = [*_options(error, order)] or [""]
        if last:
            either = "".join(f"{one}, " for one in some) + "or " * bool(some)
            error.hint = f"{error.hint} ({either}{last})"
        raise


def _options(error: RequestRefused | TransportError, order: PreparedRequest) -> Iterator[str]:
    """Yield the options that are about what the hint speaks of."""
    csr, hint = order.request.csr, error.hint
    is_mac = (
        isinstance(error, RequestRefused) and error.failure.fail_info is FailInfo.badMessageCheck
    )
    if "challenge" in hint and (is_mac or csr.challenge_password is None):
        yield "--challenge-file FILE"
        if not is_mac and isinstance(order.request, PKCSReq):
            # A renewal does not look at the variable: what is in there is spent.
            yield "SCEP_CHALLENGE"
    if "RSA" in hint and not keys.kind(csr.public_key).startswith("rsa:"):
        yield "--key rsa:2048"
    if "purposes" in hint:
        yield "--eku"
