"""The doors at which MDMs ask for one-time challenges: the NDES page, and Jamf's webhook.

`[endpoint.NAME.jamf]` opens the one; `mscep_admin` and `ndes` in `[endpoint.NAME]` open the other.
"""

from __future__ import annotations

import ipaddress
import os
import re
import string
from collections.abc import Collection, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Self, TypeAlias
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from scepkit.enrolment.challenges.orders import DATA_NAME, ChallengeOrder
from scepkit.enrolment.challenges.selection import Pattern
from scepkit.errors import UsageError
from scepkit.protocol.general_name import WRITTEN_KINDS
from scepkit.server.http.peers import EVERYBODY

_Minutes: TypeAlias = Annotated[int, Field(ge=1, le=7 * 24 * 60)]
_PerMinute: TypeAlias = Annotated[int, Field(ge=1, le=1_000_000)]
_FieldName: TypeAlias = Annotated[str, Field(pattern=f"^{DATA_NAME.pattern}$")]


class JamfSettings(BaseModel):
    """`[endpoint.NAME.jamf]`: the webhook SCEPChallenge of Jamf Pro and of Fleet.

    Attributes:
        user: of HTTP Basic; empty with `bearer_file`.
        password_file: the file with the password of `user`.
        bearer_file: the file with a token for `Authorization: Bearer`.
        subject: the only subject that a challenge is good for, RFC 4514; `{serial_number}` and its
            like stand for the device's. Empty for any.
        sans: the only subject alternative names beside that, with the same placeholders.
        require: what has to be known of a device, besides what `subject` and `sans` name.
        answer_probes: whether an event about no device, by which Fleet tries out the connection,
            gets an answer that is no challenge where a device is required.
        minutes: the lifetime of a challenge.
        per_minute: challenges in a minute, per worker process.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    user: Annotated[str, Field(pattern=r"^[^:\x00-\x1f\x7f]{0,64}$")] = ""
    password_file: Path | None = None
    bearer_file: Path | None = None
    subject: str = ""
    sans: tuple[str, ...] = ()
    require: tuple[_FieldName, ...] = ()
    answer_probes: bool = False
    minutes: _Minutes = 60
    per_minute: _PerMinute = 600

    @field_validator("subject")
    @classmethod
    def _has_placeholders(cls, value: str) -> str:
        placeholders(value)
        return value

    @field_validator("sans")
    @classmethod
    def _have_kinds(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for text in value:
            _with_kind(text)
        return value

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        has_basic = bool(self.user) and self.password_file is not None
        has_bearer = self.bearer_file is not None
        is_half = bool(self.user) != (self.password_file is not None)
        if is_half or has_basic == has_bearer:
            raise ValueError("it needs user and password_file, or bearer_file, and not both")
        # A name with a placeholder is for a value that is not known yet.
        fixed = [one for one in self.sans if not placeholders(one)]
        try:
            self.model_copy(update={"sans": fixed}).order(dict.fromkeys(self.needed, "xx"))
        except UsageError as error:
            raise ValueError(error.message) from error
        return self

    @property
    def secret_file(self) -> Path:
        """Return the file that the credential's secret is in."""
        found = self.bearer_file or self.password_file
        if found is None:
            raise ValueError("there is no credential")
        return found

    @property
    def needed(self) -> tuple[str, ...]:
        """Return what has to be known of a device, each once."""
        named = (name for text in (self.subject, *self.sans) for name in placeholders(text))
        return tuple(dict.fromkeys((*self.require, *named)))

    def order(self, device: dict[str, str], *, label: str | None = None) -> ChallengeOrder:
        """Return the order for a device's challenge.

        Args:
            device: what is known of it, by name; all of `needed` is.
            label: what people find the challenge by; None for nothing.

        Raises:
            UsageError: something of it cannot be in a name or in a certificate.
        """
        in_subject = {name: _escaped(value) for name, value in device.items()}
        return ChallengeOrder.of(
            timedelta(minutes=self.minutes),
            subject=self.subject.format_map(in_subject) or None,
            sans=[_filled(one, device) for one in self.sans],
            label=label,
            data=[f"{name}={value}" for name, value in device.items()],
        )


def _escaped(value: str) -> str:
    """Return a value as it is safe in a distinguished name (RFC 4514 section 2.4): all in hex."""
    return "".join(f"\\{octet:02x}" for octet in value.encode("utf-8"))


def _with_kind(template: str) -> tuple[str, str]:
    """Return the kind of a name with placeholders, and the rest of it; "" for one without.

    No value of a device's has a say in the kind.

    Raises:
        ValueError: what stands in the template does not say it.
    """
    if not placeholders(template):
        return "", template
    kind, separator, text = template.partition(":")
    if separator and kind.lower() in WRITTEN_KINDS and not text.startswith("//"):
        return kind.lower(), text
    if "://" in template:
        return "uri", template
    if ":" in template or _PLACEHOLDER.fullmatch(template):
        raise ValueError(f"{template!r} needs its kind before it, such as dns:{{device_name}}")
    return "email" if "@" in template else "dns", template


def _filled(template: str, device: dict[str, str]) -> str:
    """Return a name with what is known of a device in place of the placeholders.

    Raises:
        UsageError: a value cannot be in such a name without making another one of it.
    """
    kind, text = _with_kind(template)
    if not kind:
        return template.format_map(device)
    if kind in ("dirname", "dir"):
        values = {name: _escaped(value) for name, value in device.items()}
    elif kind == "uri":
        values = {name: quote(value, safe="") for name, value in device.items()}
    else:
        values = device
        _check_values(kind, text, device)
    return f"{kind}:{text.format_map(values)}"


# What a value may be in a name, and where it is the whole of one.
_LABELS = r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*"
_LOCAL = r"[^\s@\\/<>()\[\],;:\"]+"
_PARTS = {"dns": _LABELS, "ip": r"[0-9A-Fa-f]+", "email": _LOCAL, "upn": _LOCAL}
_WHOLE = {"ip": r"[0-9A-Fa-f.:]+", "email": f"{_LOCAL}@{_LABELS}", "upn": f"{_LOCAL}@{_LABELS}"}
_PLACEHOLDER = re.compile(r"\{[^{}]*\}")


def _check_values(kind: str, text: str, device: dict[str, str]) -> None:
    """Refuse a value that would be more than a part of a host name, an address or a UPN.

    Raises:
        UsageError: one is.
    """
    is_whole = kind in _WHOLE and _PLACEHOLDER.fullmatch(text)
    wanted = _WHOLE[kind] if is_whole else _PARTS[kind]
    for name in placeholders(text):
        if not re.fullmatch(wanted, device[name]):
            raise UsageError(f"{name} has characters that cannot be in a {kind} name there")


def placeholders(text: str) -> list[str]:
    """Return the names in the braces of a text.

    Raises:
        ValueError: something else is there.
    """
    found = []
    for _, name, specification, conversion in string.Formatter().parse(text):
        if name is None:
            continue
        if specification or conversion or not DATA_NAME.fullmatch(name):
            raise ValueError(
                f"{{{name}}} is no placeholder: write {{serial_number}}, {{udid}} or another name "
                "of a to z, 0 to 9 and _"
            )
        found.append(name)
    return found


def tables() -> dict[str, Collection[str]]:
    """Return the settings that there are, as explanations of errors want them."""
    return {"endpoint.jamf": JamfSettings.model_fields}


def check_shape(patterns: Sequence[Pattern], length: int) -> None:
    """Refuse an NDES page where no rule takes the challenges that it hands out.

    Args:
        patterns: of the endpoint's rule for one-time challenges, if there is one.
        length: the characters of such a challenge.

    Raises:
        ValueError: none does.
    """
    if not patterns:
        raise ValueError("the NDES page hands out one-time challenges, and no rule judges these")
    if not patterns[0].takes_all("upper-hex", length):
        raise ValueError(
            f"the challenges of the NDES page have {length} characters in upper-case hex, which "
            "match of the rule one-time has to take beside its own: match = { length = "
            f'[{min(length, 32)}, 32], form = "alphanumeric" }}'
        )


def check_private(opened: Sequence[str], host: str, proxies: Collection[str], *, told: bool) -> str:
    """Return why doors cannot be open at an address; "" where nobody could read what they say.

    Args:
        opened: the endpoints that have one.
        host: the address that the server listens on, in plain HTTP.
        proxies: those that are listed.
        told: whether somebody has listed them.
    """
    if not opened or _is_loopback(host):
        return ""
    where = f"the server listens on {host} in plain HTTP"
    if EVERYBODY in proxies:
        return f'{where}, and proxies = ["*"] believes anybody: list the proxy that does TLS'
    if not proxies or not (told or "FORWARDED_ALLOW_IPS" in os.environ):
        return (
            f"{where}: set host to 127.0.0.1 behind a proxy that does TLS, or list that proxy in "
            "proxies"
        )
    return ""


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
