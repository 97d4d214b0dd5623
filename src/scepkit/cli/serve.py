"""`scep serve`: the first start makes the server's directory, every later one finds it."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scepkit.cli import terminal
from scepkit.cli.help import Command, examples
from scepkit.errors import SettingsError, UsageError

if TYPE_CHECKING:
    import socket

    from cryptography import x509

    from scepkit.server.settings import Settings


def _directory(text: str) -> Path:
    """Read the name of a directory.

    Raises:
        UsageError: it is empty, as of a variable that is not set: here is not what was meant.
    """
    if not str(text):
        raise UsageError("--dir names no directory", hint="name it; . is the current one")
    return Path(text)


DirectoryOption = Annotated[
    Path,
    typer.Option(
        "--dir",
        envvar="SCEP_DIR",
        metavar="DIR",
        help="The server's data directory.",
        parser=_directory,
    ),
]
DEFAULT_DIRECTORY = Path("scep-data")

_HostOption = Annotated[
    str | None, typer.Option(metavar="HOST", help="Address to listen on; 0.0.0.0 for all.")
]
_PortOption = Annotated[
    int | None, typer.Option(min=0, max=65535, metavar="PORT", help="Port; 0 takes a free one.")
]
_WorkersOption = Annotated[
    int | None, typer.Option(min=1, max=64, metavar="N", help="Number of server processes.")
]
_PublicURLOption = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="URL at which devices reach the server. Issued certificates name their CRL and "
        "OCSP responder below it.",
    ),
]
_LayoutOption = Annotated[
    str | None,
    typer.Option(
        metavar="LAYOUT",
        help="Keys of a new CA: default (RSA-3072 and an RSA-2048 RA), ec (P-256 and an "
        "RSA-2048 RA) or single (one RSA-2048 key).",
    ),
]
_CASubjectOption = Annotated[
    str | None,
    typer.Option(
        metavar="DN",
        help="Name of a new CA, as RFC 4514 has it: 'CN=Example Device CA,O=Example,C=CH'.",
    ),
]
_LegacyOption = Annotated[
    str | None,
    typer.Option(
        metavar="LIST",
        help="Allow broken or weak algorithms, for devices that support nothing better: "
        "sha1,des3,des,md5,draft-oids or some of them.",
    ),
]

NEEDED = (
    "alembic",
    "httptools",
    "prometheus_client",
    "pydantic_settings",
    "sqlalchemy",
    "structlog",
)

_EPILOG = examples(
    "scep serve",
    "scep serve --host 0.0.0.0 --public-url http://scep.example.com:8080/scep",
    "scep serve --ca-subject 'CN=Example Device CA,O=Example,C=CH'",
)


def register(app: typer.Typer) -> None:
    """Add the command of this file."""
    app.command("serve", cls=Command, epilog=_EPILOG)(serve)


def serve(
    directory: DirectoryOption = DEFAULT_DIRECTORY,
    host: _HostOption = None,
    port: _PortOption = None,
    workers: _WorkersOption = None,
    public_url: _PublicURLOption = None,
    layout: _LayoutOption = None,
    ca_subject: _CASubjectOption = None,
    legacy: _LegacyOption = None,
) -> None:
    """Run a SCEP server: a CA, its database and its endpoint.

    The first start makes the CA, the database and scep.toml in the data directory. The settings are
    in scep.toml.
    """
    require_server()
    from scepkit.server import run
    from scepkit.server.directory import data_directory
    from scepkit.server.reloading.hang_up import HangUp

    kept: dict[str, object] = {
        "host": host,
        "port": port,
        "workers": workers,
        "public_url": _checked_url(public_url),
    }
    options = {**kept, **_sections(ca_subject, legacy)}
    home = data_directory.begin(
        directory,
        layout=layout,
        ask=asked_passphrase(),
        # Else the next start would find in scep.toml what did not work at this one.
        try_out=run.try_out,
        **options,
    )
    made = run.check(home, layout).made
    _tell_overruled(home.settings, directory, options, layout)
    if home.is_first:
        _tell_not_kept(directory, kept)
    listener = run.bind(home.settings.host, home.settings.port)
    door = run.bind_api(home.settings)
    address = listener.getsockname()
    _say_owner(directory)
    hang_up = HangUp()

    def announce() -> None:
        _announce(home.settings, directory, made, address[0], address[1])
        if door is not None:
            _announce_api(home.settings, directory, *door)

    with run.until_stopped():
        run.serve(home, listener, hang_up, announce, None if door is None else door[0])
    terminal.say("stopped")


def _sections(ca_subject: str | None, legacy: str | None) -> dict[str, object]:
    """Return the options that are settings of the default CA and of the default endpoint."""
    from scepkit.server.settings import DEFAULT

    sections: dict[str, object] = {}
    if ca_subject is not None:
        sections["ca"] = {DEFAULT: {"subject": checked_subject(ca_subject)}}
    if legacy is not None:
        sections["endpoint"] = {DEFAULT: {"legacy": split_legacy(legacy)}}
    return sections


def asked_passphrase() -> Callable[[], str] | None:
    """Return what asks for the passphrase of a server's keys; None where nobody can be asked."""
    if not terminal.can_ask():
        return None
    return partial(typer.prompt, "Passphrase of the server's keys", hide_input=True, err=True)


def _say_owner(directory: Path) -> None:
    """Say who owns new files when root runs a server for another user."""
    from scepkit.keys import ownership

    owner = directory.stat().st_uid
    if os.geteuid() == ownership.ROOT != owner:
        name = ownership.user_name(owner)
        terminal.say(f"running as root; new files in {directory} belong to {name}")


def _announce(
    settings: Settings, directory: Path, made: Sequence[str], host: str, port: int
) -> None:
    """Say where the endpoints are, how to know their CAs, and what to type on a device."""
    from scepkit.keys.pem import sha256_fingerprint
    from scepkit.server.directory.ca_loading import certificates
    from scepkit.server.settings import DEFAULT, public_urls

    url = settings.public_url or public_urls.of_address(host, port)
    cas = certificates(settings)
    where = shlex.quote(str(directory))
    for name in made:
        place = directory if name == DEFAULT else directory / f"ca-{name}"
        terminal.say(f"made a new CA in {place}")
    for name, endpoint in settings.endpoint.items():
        terminal.data(f"URL          {public_urls.of_endpoint(url, name)}")
        if endpoint.ca in cas:
            terminal.data(f"fingerprint  {sha256_fingerprint(cas[endpoint.ca])}")
        else:
            terminal.say(
                f"the CA {endpoint.ca!r} waits for its certificate: scep admin ca install "
                f"{endpoint.ca} CERT --chain ROOT --dir {where}"
            )
    default = settings.endpoint[DEFAULT]
    if "one-time" in default.challenge_kinds:
        terminal.say(f"a challenge: scep admin challenge new --dir {where}")
    if default.is_approved:
        terminal.say(f"requests:    scep admin list --pending --dir {where}")
    if default.ca not in cas:
        return
    fingerprint = sha256_fingerprint(cas[default.ca])
    challenge = " --challenge CHALLENGE" if default.challenge_kinds else ""
    terminal.say(
        f"a device:    scep enroll {url} --fingerprint {fingerprint} "
        f"--subject CN=device1{challenge} --out device1"
    )


def _tell_overruled(
    settings: Settings, directory: Path, options: dict[str, object], layout: str | None
) -> None:
    """Say which value counts of each setting that is given twice."""
    from scepkit.server.settings import precedence

    twice = precedence.overruled(directory, options, layout)
    for one in (*twice, *precedence.over_profiles(settings)):
        terminal.say(f"{one.winner} wins over {one.loser}")
    for said, rules in precedence.as_rules(settings).items():
        terminal.say(f"{said}: the rules are {rules}")


def _tell_not_kept(directory: Path, options: dict[str, object]) -> None:
    """Say which options the first start did not write, since there was a scep.toml before it."""
    from scepkit.server.settings import FILE, precedence

    for name, line in precedence.not_kept(directory, options).items():
        terminal.say(
            f"--{name.replace('_', '-')} counts for this start only: {directory / FILE} existed "
            f"before and is not changed; to keep it, add at the top of that file: {line}"
        )


def _announce_api(
    settings: Settings,
    directory: Path,
    listener: socket.socket,
    certificate: x509.Certificate | None,
) -> None:
    """Say where the API is, and how to know that it is this one."""
    from scepkit.keys.pem import sha256_fingerprint
    from scepkit.server.api.tls import files
    from scepkit.server.settings import api

    host, _ = api.address(settings)
    shown = f"[{host}]" if ":" in host else host
    scheme = "http" if certificate is None else "https"
    terminal.data(f"API          {scheme}://{shown}:{listener.getsockname()[1]}/api/v1")
    if certificate is not None:
        terminal.data(f"API TLS      {sha256_fingerprint(certificate)}")
        if settings.api_certificate is None:
            file = shlex.quote(str(files(settings)[0]))
            terminal.say(f"programs trust its certificate by its file: curl --cacert {file}")
    terminal.say(
        f"a token:     scep admin token create --scope challenges:write "
        f"--dir {shlex.quote(str(directory))}"
    )


def _checked_url(url: str | None) -> str | None:
    """Return the URL of an option, if it can be one.

    Raises:
        UsageError: it is none.
    """
    if url and not re.fullmatch(r"https?://\S+", url):
        raise UsageError(
            f"--public-url: {url!r} is no http or https URL",
            hint="write it as devices reach the server, such as http://scep.example.com/scep",
        )
    return url


def checked_subject(text: str) -> str:
    """Return the name of a CA of an option, if it can be one.

    Raises:
        UsageError: it cannot.
    """
    from scepkit.ca.directory.founding import check_name
    from scepkit.protocol.rfc4514 import parse_subject

    check_name(parse_subject(text))
    return text


def split_legacy(text: str) -> list[str]:
    """Split `sha1,des3` into known names.

    Raises:
        UsageError: one is not known.
    """
    from scepkit.protocol.algorithms import Legacy

    names = [name.strip().lower() for name in text.split(",") if name.strip()]
    known = [legacy.value for legacy in Legacy]
    for name in names:
        if name not in known:
            raise UsageError(f"{name!r} is no legacy algorithm", hint=f"one of {', '.join(known)}")
    return names


def require_server() -> None:
    """Raise an error of one line if only the client is installed.

    Raises:
        SettingsError: the server's dependencies are not installed.
    """
    for module in NEEDED:
        if importlib.util.find_spec(module) is None:
            raise SettingsError(
                "the server's part of scepkit is not installed",
                hint="install it with its extra `server`: pip install '.[server]' in a checkout",
            )
