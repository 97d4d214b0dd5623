"""Write the certificates in docs/reference/ready-profiles.md as they are really issued.

python docs/ready_profiles.py           writes them
python docs/ready_profiles.py --check   ends with status 1 if they are out of date
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509

from scepkit.ca.authority import Authority
from scepkit.ca.directory.founding import ca_name, self_signed
from scepkit.ca.extensions import Locations, ca_id
from scepkit.ca.identity import Identity
from scepkit.ca.issuer import Order
from scepkit.cli.certificate_text import lines as certificate_lines
from scepkit.keys import pem
from scepkit.protocol.certificate import Certificate
from scepkit.protocol.distinguished_name import Name
from scepkit.protocol.extensions import (
    Extensions,
    encoded,
    read_purposes,
)
from scepkit.protocol.general_name import parse_san
from scepkit.server.settings.profiles import inheritance

PAGE = Path(__file__).parent / "reference" / "ready-profiles.md"
NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
# The certificate of a profile stands behind its mark, in a block of its own.
_BLOCK = re.compile(r"(<!-- issued: ([a-z-]+) -->\n\n```\n).*?(```\n)", re.DOTALL)
_TABLE = re.compile(r"(<!-- profiles -->\n\n).*?(<!-- end -->\n)", re.DOTALL)
_SID = "uri:tag:microsoft.com,2022-09-14:sid:S-1-5-21-1004336348-1177238915-682003330-1104"


@dataclass(frozen=True)
class Sample:
    """A request as such devices send it.

    Attributes:
        subject: RFC 4514.
        names: the alternative names that it asks for.
        purposes: those that it asks for; None for none.
        bound: whether its challenge is bound to these names.
    """

    subject: str
    names: tuple[str, ...]
    purposes: tuple[str, ...] | None = None
    bound: bool = False


SAMPLES = {
    "device": Sample(
        "CN=printer3,O=Example", ("dns:printer3.example.com", "upn:printer3@corp.example")
    ),
    "vpn-client": Sample(
        "CN=laptop7,O=Example", ("dns:laptop7.example.com", "email:al@example.com")
    ),
    "vpn-gateway": Sample("CN=vpn.example.com,O=Example", ("dns:vpn.example.com", "ip:192.0.2.7")),
    "wifi-eap-tls": Sample("CN=tablet5,O=Example", ("dns:tablet5.example.com",)),
    "tls-server": Sample(
        "CN=www.example.com,O=Example", ("dns:www.example.com", "dns:example.com", "ip:192.0.2.8")
    ),
    "network-device": Sample(
        "CN=router1.example.com,serialNumber=FOC12345678", ("dns:router1.example.com",)
    ),
    "apple": Sample(
        "CN=iPad of Al,O=Example", ("email:al@example.com", "upn:al@corp.example", _SID)
    ),
    "windows-device": Sample("CN=laptop7", ("dns:laptop7.corp.example", _SID), bound=True),
    "windows-user": Sample(
        "CN=Al", ("upn:al@corp.example", _SID), ("client_auth", "smartcard_logon"), bound=True
    ),
}


def issued(
    name: str, ca: Authority, key: pem.PrivateKey, sample: Sample, now: datetime = NOW
) -> bytes:
    """Issue a certificate of a ready profile, and return it as DER."""
    asked = [x509.SubjectAlternativeName([parse_san(one) for one in sample.names])]
    wanted = [encoded(one) for one in asked]
    if sample.purposes is not None:
        wanted.append(encoded(x509.ExtendedKeyUsage(read_purposes(sample.purposes))))
    profile = inheritance.ready()[name].compiled(name)
    identity = Identity.TAKEN_OVER if sample.bound and profile.identity else Identity.LEFT_OUT
    order = Order(
        subject=Name.parse(sample.subject),
        public_key=key.public_key(),
        requested=Extensions.read(wanted),
        profile=profile,
        now=now,
        identity=identity,
    )
    return ca.certify(order).der


def new_ca(kind: str, now: datetime = NOW) -> Authority:
    """Found a CA with a key of that kind, a month ago: nothing is older than its CA."""
    key, then = pem.generate(kind), now - timedelta(days=30)
    certificate = self_signed(key, ca_name("Example CA"), now=then, decrypts=False)
    return Authority(certificate, key, locations=Locations("http://pki.example.com"))


def certificate_text(name: str, ca: Authority) -> str:
    """Return the request of a profile and what is issued for it, for people."""
    sample = SAMPLES[name]
    lines = [
        f"asked for: {sample.subject}",
        *(f"           {one}" for one in sample.names),
    ]
    if sample.purposes is not None:
        lines.append(f"           {', '.join(sample.purposes)}")
    if sample.bound:
        lines.append("           with a challenge that is bound to these names")
    of_rsa = issued(name, ca, pem.generate("rsa:2048"), sample)
    of_ec = issued(name, ca, pem.generate("ec:p256"), sample)
    had = [*map(str, Certificate.read(of_rsa).alternative_names)]
    lines += [f"left out:  {one}" for one in sample.names if one not in had]
    lines += ["", *certificate_lines(Certificate.read(of_rsa)), "", "and with an EC key:"]
    lines += [line for line in certificate_lines(Certificate.read(of_ec)) if line not in lines]
    text = "".join(f"{line.rstrip()}\n" for line in lines)
    return text.replace(ca_id(ca.key_hash), "ID-OF-THE-CA")


def table() -> str:
    """Return the profiles side by side."""
    head = "profile", "for", "purposes, where a request names none", "others", "names"
    lines = [f"| {' | '.join(head)} |", "|---|---|---|---|---|"]
    for name in SAMPLES:
        one = inheritance.ready()[name]
        more = [purpose for purpose in one.allowed_eku if purpose not in one.default_eku]
        kinds = sorted(one.names.kinds - (set() if one.identity else {"upn"}))
        cells = [f"[`{name}`](#{name})", one.description, _code(one.default_eku), _code(more)]
        lines.append(f"| {' | '.join([*cells, ', '.join(kinds)])} |")
    return "".join(f"{line}\n" for line in lines)


def _code(names: Iterable[str]) -> str:
    return ", ".join(f"`{one}`" for one in names)


def page(text: str) -> str:
    """Return the page with its table and certificates anew."""
    ca = new_ca("ec:p256")
    text = _TABLE.sub(lambda one: f"{one[1]}{table()}\n{one[2]}", text)
    return _BLOCK.sub(lambda one: one[1] + certificate_text(one[2], ca) + one[3], text)


if __name__ == "__main__":
    written = PAGE.read_text("utf-8")
    missing = inheritance.ready().keys() ^ {one[2] for one in _BLOCK.finditer(written)}
    if missing:
        sys.exit(f"{PAGE.name} and the ready profiles differ: {', '.join(sorted(missing))}")
    if "--check" in sys.argv:
        sys.exit(0 if written == page(written) else f"{PAGE.name} is out of date")
    PAGE.write_text(page(written), "utf-8")
