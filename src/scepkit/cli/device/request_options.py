"""Options of `scep enroll` that say what is asked for, with which key, and what is written."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from scepkit.cli.options import KEYS, OUTPUT, WANTED, flag, option
from scepkit.errors import UsageError

if TYPE_CHECKING:
    from scepkit.client.folder.outputs import OutputChanges, Outputs
    from scepkit.client.secret_source import Secrets, SecretSource
    from scepkit.protocol.algorithms import PrivateKey

KEY = "Key"
FILES = "Files"

_PLACES = "file:PATH, env:NAME, command:PROGRAM ARGUMENTS or prompt"

Subject: TypeAlias = Annotated[
    str | None,
    option(
        WANTED,
        "DN",
        "Subject of the certificate, such as CN=dev1,O=Example (RFC 4514). In a value, put a "
        'backslash before , + " and #. {hostname}, {fqdn} and {serial} stand for facts of this '
        "machine.",
    ),
]
San: TypeAlias = Annotated[
    list[str] | None,
    option(
        WANTED,
        "NAME",
        "Subject alternative name: dns:, ip:, email:, uri:, upn: or dirname: and the name. Without "
        "the prefix the kind is guessed. {hostname}, {fqdn} and {serial} as in the subject. "
        "Repeatable.",
    ),
]
Template: TypeAlias = Annotated[
    str,
    option(
        WANTED,
        "NAME",
        "Name of a certificate template, for a Microsoft CA; or its OID, with :major.minor of its "
        "version.",
    ),
]
Csr: TypeAlias = Annotated[
    Path | None,
    option(
        WANTED,
        "FILE",
        "Send this PKCS#10, PEM or DER, in place of --subject, --san, --eku and --template; a "
        "challenge has to be in it. It takes --key-file.",
    ),
]
KeyKind: TypeAlias = Annotated[
    str,
    option(
        KEY,
        "KIND",
        f"{KEYS}. EC and Ed25519 keys need a challenge, and a CA that accepts them.",
        show_default=True,
    ),
]
KeyFile: TypeAlias = Annotated[
    Path | None,
    option(
        KEY,
        "FILE",
        "Use this key, PEM or DER, encrypted or not, and make none. DIR gets a copy; FILE stays "
        "as it is. Renewals keep the key, too.",
    ),
]
KeyPassphrase: TypeAlias = Annotated[
    str | None,
    option(
        KEY,
        "PLACE",
        f"Encrypt DIR/key.pem under the passphrase of this place: {_PLACES}. Renewals look there, "
        "too. The default is that of --key-file, if it is encrypted; none leaves the key in clear.",
    ),
]
KeyFilePassphrase: TypeAlias = Annotated[
    str | None,
    option(KEY, "PLACE", "Place of the passphrase of --key-file, if that is another one."),
]
KnownKeyPassphrase: TypeAlias = Annotated[
    str | None,
    option(
        WANTED,
        "PLACE",
        f"Place of the key's passphrase from now on: {_PLACES}; none puts the new key into clear. "
        "Default: the one recorded in DIR.",
        "--key-passphrase",
    ),
]

FullChain: TypeAlias = Annotated[
    Path | None,
    option(FILES, "FILE", "Also write certificate and chain to FILE, at each renewal, too."),
]
Bundle: TypeAlias = Annotated[
    Path | None,
    option(FILES, "FILE", "The same with the key in clear before them, as HAProxy reads it."),
]
Pkcs12: TypeAlias = Annotated[
    Path | None,
    option(FILES, "FILE", "The same as PKCS#12 (.p12, .pfx); it takes --pkcs12-password."),
]
Pkcs12Password: TypeAlias = Annotated[
    str | None, option(FILES, "PLACE", f"Place of the password of the PKCS#12: {_PLACES}.")
]
Pkcs12Legacy: TypeAlias = Annotated[
    bool,
    flag(
        FILES,
        "Encrypt the PKCS#12 with triple DES and SHA-1, for programs that read nothing else.",
        "--pkcs12-legacy",
    ),
]
Owner: TypeAlias = Annotated[
    str, option(FILES, "USER", "Owner of all files, at each renewal, too; for root.")
]
Group: TypeAlias = Annotated[str, option(FILES, "GROUP", "Group of all files.")]
Mode: TypeAlias = Annotated[
    str, option(FILES, "OCTAL", "Permissions of files without a key. Default: 0644.", "--mode")
]
KeyMode: TypeAlias = Annotated[
    str,
    option(FILES, "OCTAL", "Permissions of files with a key, at most 0640. Default: 0600."),
]
DryRun: TypeAlias = Annotated[
    bool,
    flag(
        OUTPUT,
        "Ask the server who its CA is, and show what would be asked for and written. Send no "
        "request and write nothing.",
        "--dry-run",
    ),
]


_NewFile = "from now on, whether it is time to renew or not"
_KnownFullChain = Annotated[
    str | None,
    option(
        FILES,
        "FILE",
        f'Write certificate and chain to FILE {_NewFile}; "" writes it no more, and leaves the '
        "file. Default, for all of these: as recorded in DIR.",
        "--fullchain",
    ),
]
_KnownBundle = Annotated[
    str | None, option(FILES, "FILE", "The same with the key in clear before them.", "--bundle")
]
_KnownPkcs12 = Annotated[
    str | None,
    option(FILES, "FILE", "The same as PKCS#12; a new one takes --pkcs12-password.", "--pkcs12"),
]
_KnownPkcs12Legacy = Annotated[
    bool | None,
    typer.Option(
        "--pkcs12-legacy/--no-pkcs12-legacy",
        help="Encrypt the PKCS#12 for programs that read nothing but triple DES and SHA-1.",
        rich_help_panel=FILES,
        show_default=False,
    ),
]


@dataclass(frozen=True, slots=True)
class FileChangeOptions:
    """The further files of a directory that has some, or none."""

    fullchain: _KnownFullChain = None
    bundle: _KnownBundle = None
    pkcs12: _KnownPkcs12 = None
    pkcs12_password: Pkcs12Password = None
    pkcs12_legacy: _KnownPkcs12Legacy = None

    def read(self) -> OutputChanges:
        """Return the changes.

        Raises:
            UsageError: the place of the password is none.
        """
        from scepkit.client.folder.outputs import OutputChanges

        password = self.pkcs12_password
        return OutputChanges(
            _absolute(self.fullchain),
            _absolute(self.bundle),
            _absolute(self.pkcs12),
            None if password is None else str(read_source(password, "--pkcs12-password")),
            self.pkcs12_legacy,
        )


def _absolute(path: str | None) -> str | None:
    return str(Path(path).absolute()) if path else path


@dataclass(frozen=True, slots=True)
class KeyOptions:
    """The key, and what it is encrypted under."""

    key: KeyKind = "rsa:2048"
    key_file: KeyFile = None
    key_passphrase: KeyPassphrase = None
    key_file_passphrase: KeyFilePassphrase = None


@dataclass(frozen=True, slots=True)
class FileOptions:
    """The further files, and the owner of all."""

    fullchain: FullChain = None
    bundle: Bundle = None
    pkcs12: Pkcs12 = None
    pkcs12_password: Pkcs12Password = None
    pkcs12_legacy: Pkcs12Legacy = False
    owner: Owner = ""
    group: Group = ""
    mode: Mode = ""
    key_mode: KeyMode = ""

    def read(self) -> Outputs:
        """Return the further files.

        Raises:
            UsageError: they cannot be meant.
        """
        from scepkit.client.folder.outputs import Outputs

        if self.pkcs12 is None and (self.pkcs12_password is not None or self.pkcs12_legacy):
            raise UsageError("--pkcs12-password and --pkcs12-legacy go with --pkcs12")
        source = read_source(self.pkcs12_password or "none", "--pkcs12-password")
        if self.pkcs12 is not None and source.kind == "none":
            raise UsageError(
                "--pkcs12 takes a password, which its importers ask for",
                hint=f"name its place: --pkcs12-password {_PLACES}",
            )
        given = (self.fullchain, self.bundle, self.pkcs12)
        one, two, three = (str(path.absolute()) if path else "" for path in given)
        if len({one, two, three} - {""}) < sum(map(bool, given)):
            raise UsageError("two of --fullchain, --bundle and --pkcs12 name the same file")
        return Outputs(
            one,
            two,
            three,
            pkcs12_password=str(source) if self.pkcs12 else "",
            pkcs12_legacy=self.pkcs12_legacy,
            owner=self.owner,
            group=self.group,
            mode=self.mode,
            key_mode=self.key_mode,
        )


def read_source(text: str, name: str) -> SecretSource:
    """Read the place of a secret.

    Raises:
        UsageError: it is none.
    """
    from scepkit.client.secret_source import SecretSource

    try:
        return SecretSource.parse(text)
    except UsageError as error:
        raise UsageError(f"{name}: {error.message}", hint=error.hint) from None


def read_key(options: KeyOptions, secrets: Secrets) -> tuple[str | PrivateKey, SecretSource | None]:
    """Read the options of the key.

    Returns:
        The kind of a new key, or the key of the file; and the place of its passphrase in DIR.

    Raises:
        UsageError: they cannot be meant.
        SettingsError: the file cannot be used.
    """
    from scepkit.client import keys
    from scepkit.client.secret_source import ASKED, KEY_PASSPHRASE, NOWHERE

    file, given, opening = options.key_file, options.key_passphrase, options.key_file_passphrase
    kept = None if given is None else read_source(given, "--key-passphrase")
    opens = ASKED
    if file is None:
        if opening is not None:
            raise UsageError("--key-file-passphrase goes with --key-file")
        return options.key, kept
    if options.key != keys.DEFAULT_KEY:
        raise UsageError("--key and --key-file exclude each other")
    what = KEY_PASSPHRASE
    if opening is not None:
        opens, what = read_source(opening, "--key-file-passphrase"), f"passphrase of {file}"
    elif kept is not None and kept != NOWHERE:
        opens = kept
    asked = False

    def ask() -> str:
        nonlocal asked
        asked = True
        return secrets.read(opens, what)

    found = keys.read_foreign_key(file, ask)
    # What somebody has encrypted stays encrypted.
    return found, opens if asked and kept is None else kept
