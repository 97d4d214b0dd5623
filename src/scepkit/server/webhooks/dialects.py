"""The dialects of webhooks: what a service is asked, how that is signed, and what it may answer."""

from __future__ import annotations

import hmac
import json
from base64 import b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

from scepkit.enrolment.answers import NOTHING, ServiceAnswer
from scepkit.enrolment.challenges.orders import DATA_NAME
from scepkit.enrolment.third_parties import No, Verdict, Yes
from scepkit.errors import ThirdPartyFailed
from scepkit.protocol.algorithms import RSA_KEY
from scepkit.protocol.asn1 import strings
from scepkit.server.webhooks.signing import signed

if TYPE_CHECKING:
    from scepkit.enrolment.third_parties import Question
    from scepkit.protocol.csr import CertificationRequest

_SHOWN = 200  # characters of a reason
_ANSWERED = frozenset({"subject", "names", "validity_seconds", "data"})


class Dialect(Protocol):
    """Asks a service, and understands its answer."""

    def body(self, question: Question, now: datetime) -> bytes:
        """Return the body of a request, JSON."""

    def headers(self, question: Question, body: bytes, now: datetime) -> Mapping[str, str]:
        """Return the headers by which the service knows who asks."""

    def verdict(self, question: Question, answer: bytes) -> Verdict:
        """Read an answer.

        Raises:
            ThirdPartyFailed: it says neither yes nor no.
        """


@dataclass(frozen=True, slots=True)
class Scepkit:
    """The dialect of scepkit itself.

    Attributes:
        key: for the signatures. Secret.
    """

    key: bytes = field(repr=False)

    def body(self, question: Question, now: datetime) -> bytes:
        """Return the body; the names in it are those that the certificate would have."""
        renews = question.renews
        return _json(
            {
                "id": question.id,
                "timestamp": now.isoformat(),
                "endpoint": question.endpoint,
                "transaction_id": question.transaction_id.decode("latin-1"),
                "challenge": question.csr.challenge_password,
                "subject": question.subject,
                "names": list(question.names),
                "renews": None if renews is None else f"{renews:x}",
                "key_sha256": question.csr.key_hash.hex(),
                "csr": b64encode(question.csr.der).decode(),
            }
        )

    def headers(self, question: Question, body: bytes, now: datetime) -> Mapping[str, str]:
        """Sign time and body together, so that nobody can send an old body as a new one."""
        return signed((self.key,), question.id, body, now)

    def verdict(self, question: Question, answer: bytes) -> Verdict:
        """Read an answer, which has to name the delivery that it is about."""
        found = _object(answer)
        if found.pop("id", None) != question.id:
            raise ThirdPartyFailed("the answer is about another delivery: its id is not that asked")
        is_allowed, reason = _allowed(found.pop("allow", None)), _text(found.pop("reason", None))
        if not is_allowed:
            return No(reason or "without a reason")
        if unknown := found.keys() - _ANSWERED:
            raise ThirdPartyFailed(f"the answer has the unknown member {min(unknown)[:60]!r}")
        return Yes(ServiceAnswer.read(found))


@dataclass(frozen=True, slots=True)
class Smallstep:
    """The dialect of step-ca's SCEPCHALLENGE webhooks, for services that were written for it.

    Attributes:
        key: for the signatures. Secret.
        webhook_id: the id of the webhook, which some services find their key by.
    """

    key: bytes = field(repr=False)
    webhook_id: str

    def body(self, question: Question, now: datetime) -> bytes:
        """Return the body, with the members in step-ca's order."""
        wanted = question.csr
        found: dict[str, Any] = {
            "timestamp": now.isoformat().replace("+00:00", "Z"),
            "provisionerName": question.endpoint,
            "x509CertificateRequest": _request(wanted),
        }
        if wanted.challenge_password:
            found["scepChallenge"] = wanted.challenge_password
        found["scepTransactionID"] = question.transaction_id.decode("latin-1")
        return _json(found)

    def headers(self, question: Question, body: bytes, now: datetime) -> Mapping[str, str]:  # noqa: ARG002
        """Sign the body, in which the time is."""
        return {
            "X-Smallstep-Signature": hmac.digest(self.key, body, "sha256").hex(),
            "X-Smallstep-Webhook-ID": self.webhook_id,
            "X-Request-Id": question.id,
        }

    def verdict(self, question: Question, answer: bytes) -> Verdict:  # noqa: ARG002
        """Read an answer; of its data counts what is text, a number, true or false.

        What data cannot be called is left out, as what is deeper is: the service was not written
        for scepkit. A template that names it fails.
        """
        found = _object(answer)
        if not _allowed(found.get("allow")):
            error = found.get("error")
            said = error.get("message") or error.get("code") if isinstance(error, dict) else error
            return No(_text(said) or "without a reason")
        data = found.get("data")
        flat = _flat(data) if isinstance(data, dict) else {}
        return Yes(ServiceAnswer(data=flat) if flat else NOTHING)


def _flat(data: Mapping[str, object]) -> dict[str, str]:
    """Return the data that a template can name; Go writes a text that is not there as ""."""
    return {
        name: value if isinstance(value, str) else json.dumps(value)
        for name, value in data.items()
        if isinstance(value, str | int | float) and value != "" and DATA_NAME.fullmatch(name)
    }


def _request(wanted: CertificationRequest) -> dict[str, Any]:
    """Return a PKCS#10 as Go's encoding of smallstep's `X509CertificateRequest` has it."""
    names = wanted.extensions.subject_alternative_names
    by_kind: dict[str, list[str]] = {}
    for name in names:
        by_kind.setdefault(name.kind, []).append(str(name).partition(":")[2])
    return {
        "version": 0,
        "subject": _subject(wanted),
        "rawSubject": _b64(wanted.subject.der),
        # Go writes a list without members as null.
        "dnsNames": by_kind.get("dns"),
        "emailAddresses": by_kind.get("email"),
        "ipAddresses": by_kind.get("ip"),
        "uris": by_kind.get("uri"),
        "sans": None,
        "extensions": _extensions(wanted) or None,
        "signatureAlgorithm": "",
        "publicKey": _b64(wanted.canonical_spki),
        "publicKeyAlgorithm": _algorithm(wanted),
        "raw": _b64(wanted.der),
    }


def _extensions(wanted: CertificationRequest) -> list[dict[str, Any]]:
    return [
        {
            "id": one.oid.dotted_string if one.oid else "",
            "critical": one.critical,
            "value": _b64(one.value or b""),
        }
        for one in wanted.extensions.all
    ]


_MEMBERS = {
    "C": "country",
    "O": "organization",
    "OU": "organizationalUnit",
    "L": "locality",
    "ST": "province",
    "STREET": "streetAddress",
    "2.5.4.17": "postalCode",
}
_SINGLE = {"2.5.4.5": "serialNumber", "2.5.4.3": "commonName"}


def _subject(wanted: CertificationRequest) -> dict[str, Any]:
    """Return a subject as Go's `pkix.Name` has it: lists, but for commonName and serialNumber."""
    found: dict[str, Any] = {}
    others: list[dict[str, str]] = []
    for attribute in (one for rdn in wanted.subject.rdns for one in rdn):
        oid, text = attribute.known_oid().dotted_string, _name_text(attribute)
        member = _MEMBERS.get(attribute.label) or _MEMBERS.get(oid)
        if member is not None:
            found.setdefault(member, []).append(text)
        elif oid in _SINGLE:
            found[_SINGLE[oid]] = text
        else:
            others.append({"type": oid, "value": text})
    if others:
        found["extraNames"] = others
    return found


def _name_text(attribute: Any) -> str:
    try:
        return str(attribute.text())
    except strings.Undecodable as error:
        raise ThirdPartyFailed("an attribute of the subject is no text") from error


def _algorithm(wanted: CertificationRequest) -> str:
    if isinstance(wanted.public_key, RSA_KEY):
        return "RSA"
    return "ECDSA" if hasattr(wanted.public_key, "curve") else "Ed25519"


def _b64(octets: bytes) -> str:
    return b64encode(octets).decode("ascii")


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), allow_nan=False).encode("ascii")


def _object(answer: bytes) -> dict[str, Any]:
    """Read a JSON object, in which no member is there twice: readers differ about which counts.

    Raises:
        ThirdPartyFailed: it is none.
    """
    try:
        found = json.loads(
            answer.decode("utf-8-sig"), object_pairs_hook=_once_each, parse_constant=_refuse
        )
    except (ValueError, RecursionError) as error:
        raise ThirdPartyFailed("the answer is no JSON object") from error
    if not isinstance(found, dict):
        raise ThirdPartyFailed("the answer is no JSON object")
    return found


def _once_each(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError("a member is there twice")
        found[name] = value
    return found


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def _allowed(value: object) -> bool:
    """Read `allow`.

    Raises:
        ThirdPartyFailed: it is neither true nor false.
    """
    if not isinstance(value, bool):
        raise ThirdPartyFailed("the answer has no allow that is true or false")
    return value


def _text(value: object) -> str:
    """Return a reason for the log, in one line and cut."""
    if not isinstance(value, str):
        return ""
    return "".join(one if one.isprintable() else "?" for one in value[:_SHOWN])
