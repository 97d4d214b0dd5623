"""The answer of a service: what it adds to its yes, checked before anything is made of it.

A service may be mistaken, or somebody else. An answer that is not as it has to be is no word at
all: the device gets HTTP 503, and nothing is issued.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from scepkit.ca.profiles.templates import texts_of
from scepkit.enrolment import binding
from scepkit.enrolment.challenges.orders import check_data, read_name, read_subject
from scepkit.errors import BadRequest, Malformed, ThirdPartyFailed, UsageError
from scepkit.protocol.asn1.strings import Undecodable
from scepkit.protocol.distinguished_name import Name
from scepkit.protocol.general_name import GeneralName, parse_san

if TYPE_CHECKING:
    from scepkit.ca.profiles.profile import Profile
    from scepkit.ca.profiles.templates import Values
    from scepkit.protocol.csr import CertificationRequest

MAX_NAMES = 100
"""The names that an answer may have."""

LONGEST = timedelta(days=50 * 365)
"""The validity that an answer may allow: as long as that of any profile."""

_MAX_TEXT = 4096  # characters of a subject, or of a name
_MEMBERS = ("subject", "names", "validity_seconds", "data")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceAnswer:
    """The answer of a service to a request that it agrees to.

    Attributes:
        subject: the only subject that the request may have, RFC 4514; None for any.
        names: the only subject alternative names that it may have beside that subject, such as
            `dns:host.example`.
        validity: the most that the certificate may be valid for, in whole seconds; the profile's
            stays the most of all. None for that.
        data: what the endpoint's profile may put into the certificate, by name.

    Raises:
        ThirdPartyFailed: something in it cannot be used.
    """

    subject: str | None = None
    names: tuple[str, ...] = ()
    validity: timedelta | None = None
    data: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        subject, names = self.subject, self.names
        if isinstance(names, str | Mapping) or not isinstance(names, tuple | list):
            raise _unusable("its names are no list")
        if names and subject is None:
            raise _unusable("it has names, and no subject that they belong to")
        if len(names) > MAX_NAMES:
            raise _unusable(f"it has {len(names)} names, at most {MAX_NAMES} are taken")
        # Kept as those of challenges are.
        kept = None if subject is None else _read(read_subject, subject, "subject")
        object.__setattr__(self, "subject", kept)
        object.__setattr__(self, "names", tuple(_read(read_name, one, "name") for one in names))
        object.__setattr__(self, "data", _data(self.data))
        _check_validity(self.validity)
        try:
            _ = self.values
        except (Malformed, Undecodable) as error:
            raise _unusable("a name in it cannot be read") from error

    @classmethod
    def read(cls, values: object) -> ServiceAnswer:
        """Read an answer from what JSON has: `subject`, `names`, `validity_seconds` and `data`.

        Raises:
            ThirdPartyFailed: it is none.
        """
        if not isinstance(values, Mapping):
            raise _unusable("it is no object")
        if unknown := [one for one in values if one not in _MEMBERS]:
            raise _unusable(f"it has the unknown member {str(unknown[0])[:60]!r}")
        given = {name: value for name, value in values.items() if value is not None}
        if "validity_seconds" in given:
            given["validity"] = _seconds(given.pop("validity_seconds"))
        return cls(**given)

    @property
    def is_bare(self) -> bool:
        """Say whether it says nothing."""
        return self.subject is None and self.validity is None and not self.data

    @property
    def members(self) -> dict[str, Any]:
        """Return the answer as `read` reads it; empty where it says nothing."""
        validity = self.validity
        found = {
            "subject": self.subject,
            "names": [*self.names],
            "validity_seconds": None if validity is None else int(validity.total_seconds()),
            "data": dict(self.data),
        }
        return {name: value for name, value in found.items() if value}

    @property
    def values(self) -> Values:
        """Return what templates may name of it."""
        subject = Name.parse(self.subject or "")
        attributes, names = texts_of(
            subject, [GeneralName.of(parse_san(one)) for one in self.names]
        )
        first = {label: texts[0] for label, texts in attributes.items()}
        return {"subject": first, "names": names, "data": self.data}

    def bound(
        self,
        request: CertificationRequest,
        by: str,
        profile: Profile,
        kept: Iterable[GeneralName] = (),
    ) -> CertificationRequest:
        """Return a request with its names as the answer has them, but for what the profile makes.

        A service need not know what the profile makes, and may say it all the same.

        Args:
            request: what is asked for.
            by: the service's name.
            profile: what is issued.
            kept: the names that the profile has made before, where a certificate is renewed.

        Raises:
            BadRequest: it asks for what it is not bound to.
        """
        if self.subject is None:
            return request
        subject = profile.of_request(Name.parse(self.subject))
        made = frozenset(map(str, kept)).difference(self.names)
        asked = request.extensions.subject_alternative_names
        own = request.named(
            profile.of_request(request.subject),
            tuple(name for name in asked if str(name) not in made),
        )
        fault = binding.fault(own, subject, self.names)
        if fault:
            raise BadRequest(f"the answer of {by} is {fault}", text=REFUSED, rule="service")
        return binding.bound(own, str(subject), self.names)


REFUSED = "the request was refused"
"""The failInfoText of what a service refuses; its reason is for the log."""


def _read(read: Any, text: object, what: str) -> str:
    if not isinstance(text, str) or not text.isprintable() or not 0 < len(text) <= _MAX_TEXT:
        raise _unusable(f"its {what} is not 1 to {_MAX_TEXT} characters in one line")
    try:
        return str(read(text))
    except UsageError as error:
        raise _unusable(f"its {what}: {error.message[:200]}") from error


def _data(data: object) -> dict[str, str]:
    if not isinstance(data, Mapping):
        raise _unusable("its data are no object")
    try:
        return check_data(data)
    except UsageError as error:
        raise _unusable(error.message) from error


def _check_validity(validity: object) -> None:
    if validity is None:
        return
    if not isinstance(validity, timedelta) or not timedelta(seconds=1) <= validity <= LONGEST:
        raise _unusable(f"its validity is not one second to {LONGEST.days} days")


def _seconds(value: object) -> timedelta:
    if isinstance(value, float) and value.is_integer():
        # JSON has one kind of numbers: 60.0 is whole.
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value < 1 << 40:
        raise _unusable("its validity_seconds is no number of seconds")
    return timedelta(seconds=value)


def _unusable(what: str) -> ThirdPartyFailed:
    return ThirdPartyFailed(f"the answer cannot be used: {what}")


NOTHING = ServiceAnswer()
"""The answer of a service that says yes and nothing else, and of none."""
