"""The list of devices of an endpoint: who is on it with the key of the request may enrol.

What else is on it, a serial number, a MAC address or a host name, is no secret: it never entitles,
and only narrows what a challenge or an operator may let in. The facts of a request that count are
those that its certificate would show: what the profile cuts, or makes itself, does not count.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scepkit.enrolment.challenges import MAX_SERVICE_LENGTH, refused
from scepkit.errors import BadRequest
from scepkit.protocol.asn1 import strings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from scepkit.ca.profiles.profile import Profile
    from scepkit.enrolment.challenges import ChallengeRule
    from scepkit.protocol.csr import CertificationRequest
    from scepkit.protocol.distinguished_name import Name
    from scepkit.store import Challenge, DeviceColumn, Store

_SEPARATORS = re.compile(r"[-:. ]")
_MAC = re.compile(r"[0-9a-f]{12}")
# Where devices put a MAC address in a subject.
_OF_MAC = frozenset({"CN", "serialNumber", "UID"})


def mac_address(text: str) -> str | None:
    """Return a MAC address as lists have it: 12 hex digits in lower case; None if it is none.

    Args:
        text: with `:`, `-`, `.` or blanks between the digits, or without.
    """
    digits = strings.lower(_SEPARATORS.sub("", text))
    return digits if _MAC.fullmatch(digits) else None


def serial_number(text: str) -> str:
    """Return a serial number as lists have it: ASCII letters, and no others, in lower case."""
    return strings.lower(text.strip(" "))


def host_name(text: str) -> str:
    """Return a host name as lists have it, likewise."""
    return strings.lower(text.strip(" ")).removesuffix(".")


@dataclass(frozen=True, slots=True)
class DeviceList:
    """The devices that an endpoint knows. Threads may share it.

    Attributes:
        store: where they are.
        endpoint: the endpoint's name.
        profile: what it issues.
        by: what of a device has to be that of one on the list.
    """

    store: Store
    endpoint: str
    profile: Profile
    by: tuple[DeviceColumn, ...]

    def check(self, request: CertificationRequest) -> None:
        """Refuse a request of a device that is not on the list.

        Raises:
            BadRequest: it is not; the same text as for a wrong challenge.
            StoreError: the database cannot be read.
        """
        facts = {name: _fact(request, name, self.profile) for name in self.by}
        if not self.store.has_device(self.endpoint, facts):
            raise _not_listed(f"no device on the list has {_shown(facts)}")


def _shown(facts: Mapping[DeviceColumn, bytes | str]) -> str:
    return ", ".join(
        f"the {name} {value.hex() if isinstance(value, bytes) else value!r}"
        for name, value in facts.items()
    )


def _not_listed(reason: str) -> BadRequest:
    error = refused(reason)
    error.hint = "put the device on the endpoint's list, if it belongs there"
    return error


def _fact(request: CertificationRequest, name: DeviceColumn, profile: Profile) -> bytes | str:
    """Return a fact of a request that its certificate would show.

    Raises:
        BadRequest: it has none, or several different ones.
    """
    if name == "key":
        return request.key_hash
    try:
        found = {*_texts(request, name, profile)}
    except strings.Undecodable:
        raise _not_listed("an attribute of the subject is no text") from None
    if len(found) != 1:
        what = "several" if found else "none"
        raise _not_listed(
            f"a {name} that is on the list is needed, and the certificate would have {what}"
        )
    return found.pop()


def _texts(request: CertificationRequest, name: DeviceColumn, profile: Profile) -> Iterator[str]:
    kept = profile.of_request(request.subject)
    subject = [(one.label, one.text()) for rdn in kept.rdns for one in rdn]
    if name == "serial_number":
        yield from (serial_number(text) for label, text in subject if label == "serialNumber")
    elif name == "mac":
        found = (mac_address(text) for label, text in subject if label in _OF_MAC)
        yield from (one for one in found if one is not None)
    else:
        has_hosts = "dns" in profile.san_types
        names = request.extensions.subject_alternative_names if has_hosts else ()
        hosts = [str(one).partition(":")[2] for one in names if one.kind == "dns"]
        yield from map(host_name, hosts or [text for label, text in subject if label == "CN"])


@dataclass(frozen=True, slots=True)
class ListedKeys:
    """Lets in the devices whose keys are on the list, without a challenge.

    Attributes:
        devices: the list.
        max_length: as in `ChallengeRule`: a challenge does not count here.
    """

    devices: DeviceList
    max_length: int = MAX_SERVICE_LENGTH

    def judge(self, request: CertificationRequest, now: datetime) -> None:  # noqa: ARG002
        """See that the key is on the list; raises as `DeviceList.check` does."""
        self.devices.check(request)

    def confirm(self, request: CertificationRequest, now: datetime, renewed: Name) -> None:
        """Take no notice: the certificate entitles."""

    def password(self, transaction_id: bytes) -> None:
        """Know none."""


@dataclass(frozen=True, slots=True)
class Narrowed:
    """A rule for devices on the list only.

    Attributes:
        challenges: the rule.
        devices: the list.
    """

    challenges: ChallengeRule
    devices: DeviceList

    @property
    def max_length(self) -> int:
        """Return what the rule says."""
        return self.challenges.max_length

    def judge(self, request: CertificationRequest, now: datetime) -> Challenge | None:
        """Judge as the rule does, a device that is on the list; raises as both do."""
        challenge = self.challenges.judge(request, now)
        self.devices.check(request)
        return challenge

    def confirm(
        self, request: CertificationRequest, now: datetime, renewed: Name
    ) -> Challenge | None:
        """Judge as the rule does: the certificate entitles."""
        return self.challenges.confirm(request, now, renewed)

    def password(self, transaction_id: bytes) -> str | None:
        """Name the password that the rule names."""
        return self.challenges.password(transaction_id)
