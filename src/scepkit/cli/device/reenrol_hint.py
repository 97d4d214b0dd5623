"""The command that gets a certificate into a directory, for a hint."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scepkit.client.folder import Folder
    from scepkit.client.folder.record import Record
    from scepkit.protocol.certificate import Certificate

FIRST = "scep enroll URL --subject DN --out "
"""The command for a directory that knows nothing, without that directory."""

# Kinds of names that --san takes.
_KINDS = ("dns:", "ip:", "email:", "uri:")


def command(folder: Folder) -> str:
    """Return the command; what the directory does not know is left to fill in.

    Raises:
        SettingsError: a file of it cannot be used.
    """
    record = folder.record() or folder.unfinished_record()
    url = shlex.quote(record.url) if record else "URL"
    words = ["scep enroll", url, *_subject(folder), *_options(record)]
    return " ".join([*words, "--out", shlex.quote(str(folder.path))])


def _subject(folder: Folder) -> Iterator[str]:
    certificate = folder.certificate()
    if certificate is None:
        yield "--subject DN"
        return
    yield f"--subject {shlex.quote(str(certificate.subject_name))}"
    for name in _names(certificate):
        if name.startswith(_KINDS):
            yield f"--san {shlex.quote(name)}"


def _names(certificate: Certificate) -> tuple[str, ...]:
    from scepkit.errors import Malformed

    try:
        return tuple(map(str, certificate.alternative_names))
    except Malformed:
        # Extensions that cannot be read are no reason not to give a hint.
        return ()


def _options(record: Record | None) -> Iterator[str]:
    if record is None:
        return
    given = {
        "--eku": ",".join(record.purposes),
        "--ca-id": record.ca_id,
        "--legacy": ",".join(record.legacy),
        "--tls-ca": record.tls_ca,
    }
    yield from (f"{option} {shlex.quote(value)}" for option, value in given.items() if value)
