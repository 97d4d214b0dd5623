"""The report of `scep enroll --dry-run`: the CA, the request, the algorithms, the files."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from scepkit.cli import describe, terminal
from scepkit.client import keys
from scepkit.protocol.certificate_template import named_template
from scepkit.protocol.extensions import purpose_name

if TYPE_CHECKING:
    from scepkit.client.enroller import Plan
    from scepkit.protocol.csr import CertificationRequest


def report(plan: Plan, *, as_json: bool) -> None:
    """Print what an enrolment would do. The challenge is not shown."""
    ca, request = plan.ca, plan.request.request.csr
    files = {name: str(path) for name, path in plan.files.items()}
    algorithms = {"digest": ca.choice.digest.name, "cipher": ca.choice.cipher.name}
    if as_json:
        terminal.json_data(
            {
                "ca": describe.summary(ca.certificates.anchor),
                "capabilities": describe.keywords(ca.capabilities),
                "algorithms": algorithms,
                "request": dict(_contents(request)),
                "files": files,
            }
        )
        return
    rows = [("ca", describe.subject(ca.certificates.anchor))]
    rows += [(f"ca {name}", text) for name, text in describe.marks(ca.certificates.anchor)]
    rows += [("ca can do", ", ".join(describe.keywords(ca.capabilities))), *algorithms.items()]
    rows += [(name, _text(value)) for name, value in _contents(request)]
    terminal.data_fields([*rows, *((f"file {name}", path) for name, path in files.items())])
    terminal.say("no request was sent, and nothing was written (--dry-run)")


def _contents(request: CertificationRequest) -> Iterable[tuple[str, object]]:
    found = request.extensions
    yield "subject", str(request.subject)
    yield "names", [str(one) for one in found.subject_alternative_names]
    yield "key", keys.kind(request.public_key)
    yield "purposes", [purpose_name(one) for one in found.extended_key_usage or ()]
    yield "extensions", [one.oid.dotted_string for one in found if one.oid]
    yield "template", named_template(found)
    yield "challenge", request.challenge_password is not None


def _text(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(value) or "none"
    if isinstance(value, bool):
        return "given" if value else "none"
    return str(value) or "none"
