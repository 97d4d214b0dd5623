"""Binding: a request is held to the subject and the names that somebody has said it may have."""

from __future__ import annotations

from collections.abc import Sequence

from scepkit.ca.subject_rules import email_addresses
from scepkit.protocol.csr import CertificationRequest
from scepkit.protocol.distinguished_name import Name
from scepkit.protocol.general_name import GeneralName, parse_san


def fault(request: CertificationRequest, subject: Name, names: Sequence[str]) -> str:
    """Return what of a request is not as it is bound, for the log; "" for nothing.

    Args:
        request: what is asked for.
        subject: the only subject that it may have.
        names: the only subject alternative names that it may have, as text.

    Raises:
        BadRequest: its extensions cannot be read.
    """
    if not subject.matches(request.subject):
        return f"for the subject {subject}"
    # What is in the subject will be an alternative name anyway.
    known = frozenset((*names, *map(str, email_addresses(subject))))
    for name in map(str, request.extensions.subject_alternative_names):
        if name not in known:
            return f"not for the name {name}"
    return ""


def bound(
    request: CertificationRequest, subject: str, names: Sequence[str]
) -> CertificationRequest:
    """Return a request without fault, with its subject and names as they are bound."""
    return request.bound_to(Name.parse(subject), [GeneralName.of(parse_san(one)) for one in names])
