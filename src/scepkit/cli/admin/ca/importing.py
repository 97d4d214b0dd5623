"""`scep admin ca import`: a CA that has been somewhere else until now."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from scepkit.cli import options, terminal
from scepkit.cli.admin import input_file
from scepkit.cli.admin.ca.install import read, report
from scepkit.cli.admin.ca.operator import AtOnceOption, ChainOption, NameArgument, opened
from scepkit.cli.admin.server_directory import DEFAULT_DIRECTORY, DirectoryOption, JsonOption
from scepkit.cli.help import Command, examples
from scepkit.errors import UsageError

if TYPE_CHECKING:
    from cryptography import x509

    from scepkit.keys.pem import PrivateKey

_CertificateOption: TypeAlias = Annotated[
    Path | None,
    options.option(None, "FILE", "The CA's certificate.", "--cert"),
]
_KeyOption: TypeAlias = Annotated[
    Path | None,
    options.option(None, "FILE", "Its private key, encrypted or not.", "--key"),
]
_PKCS12Option: TypeAlias = Annotated[
    Path | None,
    options.option(None, "FILE", "A PKCS#12 file with both.", "--p12"),
]
_PassphraseOption: TypeAlias = Annotated[
    Path | None,
    options.option(
        None,
        "FILE",
        "File whose first line opens the key or the PKCS#12; without it you are asked.",
        "--key-passphrase-file",
    ),
]


def register(app: typer.Typer) -> None:
    """Add the command of this file."""
    app.command(
        "import",
        cls=Command,
        short_help="Bring in a CA with its key.",
        epilog=examples(
            "scep admin ca import default --cert ca.pem --key ca.key --chain root.pem",
            "scep admin ca import default --p12 ca.p12",
        ),
    )(import_)


def import_(
    name: NameArgument,
    *,
    certificate: _CertificateOption = None,
    key: _KeyOption = None,
    chain: ChainOption = [],  # noqa: B006 - typer's way to say: none
    p12: _PKCS12Option = None,
    key_passphrase_file: _PassphraseOption = None,
    at_once: AtOnceOption = False,
    as_json: JsonOption = False,
    directory: DirectoryOption = DEFAULT_DIRECTORY,
) -> None:
    """Bring in a CA with its key, from openssl, step-ca, AD CS or another server.

    The files may be PEM, DER or PKCS#12, encrypted or not. It works before the first `scep serve`,
    too. A CA that has issued is not replaced: the imported one becomes the next CA, unless --now
    puts it into force at once. `scep admin certificates import` brings its certificates in.
    """
    if (p12 is None) == (certificate is None or key is None):
        raise UsageError(
            "either --p12, or --cert and --key are needed", hint="name the files of the CA"
        )
    with opened(directory, name) as operator:
        from scepkit.operations import authorities

        ask = _asking(key_passphrase_file)
        own, private_key, above = (
            _of_pkcs12(p12, ask) if p12 is not None else _of_files(certificate, key, ask)
        )
        above = [*above, *(one for path in chain for one in read(path))]
        installed = authorities.bring_in(operator, own, private_key, above, at_once=at_once)
    report(installed, name, directory, as_json=as_json)


def _of_pkcs12(
    path: Path, ask: Callable[[], str]
) -> tuple[x509.Certificate, PrivateKey, Sequence[x509.Certificate]]:
    from scepkit.keys.key_files import MOST_OCTETS, read_pkcs12

    found = read_pkcs12(input_file.read(path, MOST_OCTETS), path, ask)
    return found.certificate, found.key, found.others


def _of_files(
    certificate: Path | None, key: Path | None, ask: Callable[[], str]
) -> tuple[x509.Certificate, PrivateKey, Sequence[x509.Certificate]]:
    """Return what the two files hold; what is not for the key belongs to the chain."""
    from scepkit.ca.checks import has_key
    from scepkit.keys.key_files import MOST_OCTETS, read_key

    if certificate is None or key is None:
        raise UsageError("--cert and --key are both needed", hint="or give --p12")
    found = read(certificate)
    private_key = read_key(input_file.read(key, MOST_OCTETS), key, ask)
    public_key = private_key.public_key()
    # PKCS#7 has no order. Where none fits, what is said is about the first.
    own = next((one for one in found if has_key(one, public_key)), found[0])
    return own, private_key, [one for one in found if one != own]


def _asking(path: Path | None) -> Callable[[], str]:
    """Return what finds the passphrase of what is imported: a file, or whoever is asked."""

    def ask() -> str:
        from scepkit.server.directory.passphrases import read_passphrase

        if path is not None:
            return read_passphrase(path).text
        if not terminal.can_ask():
            raise UsageError(
                "the key is encrypted, and nobody can be asked for its passphrase",
                hint="--key-passphrase-file names a file",
            )
        return str(typer.prompt("Passphrase of the key", hide_input=True, err=True))

    return ask
