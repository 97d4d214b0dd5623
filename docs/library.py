"""Write the reference part of docs/reference/library.md from the docstrings of the public names.

python docs/library.py           writes it
python docs/library.py --check   ends with status 1 if it is out of date

What stands above the line REFERENCE in the page is written by hand.
"""

from __future__ import annotations

import enum
import inspect
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import scepkit

PAGE = Path(__file__).parent / "reference" / "library.md"
REFERENCE = "# Reference"
NOTE = "This part is written by `python docs/library.py` from the docstrings."

SECTIONS: dict[str, tuple[str, ...]] = {
    "Clients": (
        *("Client", "AsyncClient", "SCEPServer", "flows", "CA", "TrustedCA", "CAInformation"),
        *("ChooseAnchor", "by_fingerprint", "Issued", "Revoked", "RenewalAdvice", "Limits"),
        "generate_key",
    ),
    "Requests": ("prepared_request", "PreparedRequest", "certificate_template", "Order"),
    "Certificates, keys and names of algorithms": (
        *("Certificate", "CertificationRequest", "Credential", "PSSPublicKey", "Legacy", "Reason"),
    ),
    "A certificate in a directory": (
        *("Enroller", "Renewer", "RenewalOptions", "Renewed", "NotDue", "WaitsAhead"),
        *("Folder", "Connection", "ServerChanges", "ClientCertificate", "Outputs"),
        *("OutputChanges", "Plan", "SecretSource", "Secrets", "events"),
    ),
    "Many directories": (
        *("Agent", "AgentSettings", "Visit", "agent_events"),
        *("FleetEnroller", "FleetServer", "FleetOptions", "FleetReport", "DeviceList", "Device"),
        "fleet_events",
    ),
    "Transports and flows": (
        *("Transport", "AsyncTransport", "HTTPRequest", "HTTPResponse", "Wait", "Flow"),
        *("run_flow", "run_flow_async", "run", "flow", "transaction"),
    ),
    "Servers": (
        *("Responder", "VerifiedMessage", "OpenedRequest", "Request", "PKCSReq", "RenewalReq"),
        *("CertPoll", "GetCert", "GetCRL", "CertRep", "Success", "Failure", "Pending"),
        *("MessageType", "TransactionID", "FailInfo"),
    ),
    "Messages and the layers below": (
        *("pkimessage", "http", "capabilities", "cacerts", "next_ca", "csr", "cms", "cmp"),
    ),
    "Errors": (
        *("ScepError", "Hint", "Local", "UsageError", "SettingsError", "UntrustedCA"),
        *("LegacyRefused", "CertificateRevoked", "DirectoryBusy", "ReloadRefused", "StoreError"),
        *("NewerDatabase", "EmptyDatabase", "ThirdPartyFailed", "TooManyPending"),
        *("Remote", "TransportError"),
        *("NoSuccessor", "BadReply", "UnverifiedCertificate", "RequestRefused", "FailureReply"),
        *("RevocationRefused", "StillPending", "Malformed", "HTTPRefused", "BoundReached"),
        *("FailInfoError", "BadAlg", "BadMessageCheck", "BadRequest", "BadTime", "BadCertId"),
    ),
}
FORMER = {"Order": "PreparedRequest", "run": "run_flow"}
ALIASES = {
    "ChooseAnchor": "Returns the CA certificate to trust, or raises UntrustedCA: what the server "
    "says is no proof.",
    "Flow": "A generator that yields requests and waits, and returns the result; a driver sends it "
    "the answers, or throws TransportError where there is none.",
    "Request": "Any message that a client sends (RFC 8894 section 3.3).",
    "CertRep": "Any answer of a server (RFC 8894 section 3.3.2).",
}

_HEADING = re.compile(r"(Args|Attributes|Returns|Yields|Raises):")
_ITEM = re.compile(r"([\w*]+(?:, [\w*]+)*): (.*)")
_WIDE = 88


def reference() -> str:
    """Return the reference part of the page."""
    listed = [name for names in SECTIONS.values() for name in names]
    if sorted(listed) != sorted(scepkit.__all__):
        odd = sorted({*listed} ^ {*scepkit.__all__})
        sys.exit(f"docs/library.py: {', '.join(odd)}: not in a section, or not public")
    parts = [f"{REFERENCE}\n\n{NOTE}\n"]
    for title, names in SECTIONS.items():
        parts.append(f"## {title}\n")
        parts += [_entry(name) for name in names]
    return "\n".join(parts)


def _entry(name: str) -> str:
    value = getattr(scepkit, name)
    if name in FORMER:
        return f"### {name}\n\nThe former name of `{FORMER[name]}`, which stays.\n"
    if name in ALIASES:
        return f"### {name}\n\n{ALIASES[name]}\n"
    if isinstance(value, ModuleType):
        return f"### {name}\n\n{_text(value)}\n" + "".join(_members_of_module(name, value))
    text = f"### {name}\n\n{_code(_signature(name, value))}\n{_text(value)}\n"
    if inspect.isclass(value):
        text += _facts(value) + "".join(_methods(name, value))
    return text


def _facts(kind: type) -> str:
    """Say what a class is besides: an error of a kind, an enumeration of values."""
    if issubclass(kind, enum.Enum):
        values = "".join(f"- `{one.name}`: {one.value}\n" for one in kind)
        return f"\nMembers:\n\n{values}"
    bases = [base.__name__ for base in kind.__bases__ if base.__name__ in scepkit.__all__]
    return f"\nIs a {' and a '.join(f'`{base}`' for base in bases)}.\n" if bases else ""


def _members_of_module(name: str, module: ModuleType) -> Iterator[str]:
    public = getattr(module, "__all__", None) or [
        member
        for member, value in vars(module).items()
        if not member.startswith("_") and getattr(value, "__module__", "") == module.__name__
    ]
    for member in public:
        value = getattr(module, member)
        if member in scepkit.__all__ or not (inspect.isclass(value) or inspect.isfunction(value)):
            continue
        yield f"\n#### {name}.{member}\n\n{_code(_signature(member, value))}\n{_text(value)}\n"
        if inspect.isclass(value):
            yield _facts(value)
            yield from _methods(f"{name}.{member}", value)


def _methods(name: str, kind: type) -> Iterator[str]:
    for member, value in vars(kind).items():
        if member.startswith("_") or hasattr(value, "__wrapped__"):
            continue
        found = getattr(value, "__func__", value)
        if inspect.isfunction(found):
            yield f"\n#### {name}.{member}\n\n{_code(_signature(member, found))}\n{_text(found)}\n"
        elif _getter(value) is not None:
            getter = _getter(value)
            returns = getter.__annotations__.get("return", "Any")
            yield f"\n#### {name}.{member}: {_plain(returns)}\n\n{_text(getter)}\n"


def _getter(value: Any) -> Any:
    """Return the function behind a property, or what is worked out once."""
    found = getattr(value, "fget", None) or getattr(value, "func", None)
    return found if inspect.isfunction(found) else None


def _signature(name: str, value: Callable[..., Any]) -> str:
    if inspect.isclass(value) and (issubclass(value, enum.Enum) or inspect.isabstract(value)):
        return f"class {name}"
    try:
        signature = inspect.signature(value)
    except ValueError:
        return f"class {name}"
    parameters = [p for p in signature.parameters.values() if p.name not in ("self", "cls")]
    if getattr(value, "_is_protocol", False):
        return f"class {name}"
    written = _listed(parameters)
    returns = signature.return_annotation
    end = "" if inspect.isclass(value) or returns is signature.empty else f" -> {_plain(returns)}"
    start = "async def " if inspect.iscoroutinefunction(value) else ""
    start = "class " if inspect.isclass(value) else start or "def "
    line = f"{start}{name}({', '.join(written)}){end}"
    if len(line) <= _WIDE:
        return line
    return f"{start}{name}(\n" + "".join(f"    {one},\n" for one in written) + f"){end}"


def _listed(parameters: list[inspect.Parameter]) -> list[str]:
    written: list[str] = []
    only_by_name = False
    for one in parameters:
        if one.kind is one.KEYWORD_ONLY and not only_by_name:
            written.append("*")
            only_by_name = True
        star = {one.VAR_POSITIONAL: "*", one.VAR_KEYWORD: "**"}.get(one.kind, "")
        only_by_name |= one.kind is one.VAR_POSITIONAL
        kind = "" if one.annotation is one.empty else f": {_plain(one.annotation)}"
        default = (
            "" if one.default is one.empty else f"{' = ' if kind else '='}{_value(one.default)}"
        )
        written.append(f"{star}{one.name}{kind}{default}")
    return written


def _plain(annotation: Any) -> str:
    return annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)


def _value(default: Any) -> str:
    if isinstance(default, enum.Enum):
        return f"{type(default).__name__}.{default.name}"
    if inspect.isroutine(default) or inspect.isclass(default):
        return "…" if default.__name__ == "<lambda>" else default.__name__
    shown = repr(default)
    return "…" if shown.startswith("<") or " at 0x" in shown else shown


def _code(text: str) -> str:
    return f"```python\n{text}\n```\n"


def _text(value: Any) -> str:
    """Return a docstring as Markdown."""
    lines = inspect.cleandoc(value.__doc__ or "").split("\n")
    out: list[str] = []
    in_section = False
    for line in lines:
        if _HEADING.fullmatch(line):
            out += ["", f"{line}", ""]
            in_section = True
        elif in_section and line.startswith("    "):
            item = _ITEM.fullmatch(line[4:]) if not line.startswith(" " * 8) else None
            if item:
                out.append(f"- `{item[1]}`: {item[2]}")
            elif out and out[-1]:
                out[-1] += f" {line.strip()}"
            else:
                out.append(line.strip())
        else:
            in_section = in_section and not line
            out.append(line)
    return _joined(out)


def _joined(lines: list[str]) -> str:
    """Join the lines of each paragraph; what is indented is code."""
    out: list[str] = []
    for line in lines:
        follows = out and out[-1] and line and not line.startswith((" ", "- "))
        if follows and not out[-1].startswith((" ", "- ")) and not _HEADING.fullmatch(line):
            out[-1] += f" {line}"
        elif line or not out or out[-1]:
            out.append(line)
    return "\n".join(out).strip()


def page() -> str:
    """Return the whole page."""
    written, _, _ = PAGE.read_text("utf-8").partition(f"\n{REFERENCE}\n")
    return f"{written.rstrip()}\n\n{reference()}"


if __name__ == "__main__":
    if "--check" in sys.argv:
        sys.exit(0 if PAGE.read_text("utf-8") == page() else f"{PAGE.name} is out of date")
    PAGE.write_text(page(), "utf-8")
