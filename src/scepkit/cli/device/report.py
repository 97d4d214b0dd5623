"""The report of a command on a new certificate."""

from __future__ import annotations

from collections.abc import Mapping

from scepkit.cli import describe, terminal
from scepkit.client import keys
from scepkit.client.folder import Folder
from scepkit.protocol.certificate import Certificate, oddities, show_serial
from scepkit.protocol.scep.transaction import Issued


def issued(
    found: Issued,
    folder: Folder,
    *,
    as_json: bool,
    more: Mapping[str, object] | None = None,
    ahead: bool = False,
) -> None:
    """Report a new certificate and its place.

    Args:
        found: what was got.
        folder: where it is.
        as_json: for programs.
        more: what else to say in the JSON.
        ahead: whether it is one of the next CA, which need not be valid yet.
    """
    certificate, files = found.certificate, folder.files()
    if as_json:
        terminal.json_data(
            {
                **(more or {}),
                **describe.summary(certificate),
                "transaction_id": str(found.transaction_id),
                "changes": [
                    {"what": one.what, "asked": list(one.asked), "got": list(one.got)}
                    for one in found.changes
                ],
                "files": {name: str(path) for name, path in files.items()},
            }
        )
    else:
        terminal.say(f"got the certificate of {describe.subject(certificate)}")
        terminal.fields(
            [
                ("serial", show_serial(certificate.serial)),
                *describe.marks(certificate),
                ("files", ", ".join(str(path) for path in files.values())),
            ]
        )
    for change in found.changes:
        terminal.warn(str(change))
    if not ahead:
        warn_if_early(certificate)
    _warn_of(certificate)


def warn_if_early(certificate: Certificate) -> None:
    """Warn of a certificate that is not valid yet by this machine's clock."""
    if describe.is_early(certificate):
        terminal.warn(f"the certificate is {describe.slow_clock(certificate)}", describe.SET_CLOCK)


def _warn_of(certificate: Certificate) -> None:
    """Warn of oddities of a new certificate, and of the needs of its renewal."""
    odd = oddities(certificate)
    if odd:
        terminal.warn(
            f"other programs may refuse this certificate: {'; '.join(odd)}",
            "tell the CA's operator; it is installed, since its key and its signature are right",
        )
    kind = keys.kind(certificate.public_key)
    if kind == "ed25519":
        terminal.say(
            "its renewal will need a challenge: nothing can be encrypted to a key of kind ed25519"
        )
    elif kind.startswith("ec:") and not certificate.asserts_key_agreement:
        terminal.say(
            "its renewal will need a challenge: the CA left keyAgreement out of keyUsage, and few "
            "CAs encrypt to such a key"
        )
