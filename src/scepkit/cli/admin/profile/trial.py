"""`scep admin profile try`: the certificate that a request would get."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scepkit.cli import options, terminal
from scepkit.cli.admin import input_file
from scepkit.cli.admin.profile.listing import known
from scepkit.cli.admin.server_directory import (
    DEFAULT_DIRECTORY,
    DirectoryOption,
    JsonOption,
    records_opened,
)
from scepkit.cli.failure import FAILED
from scepkit.errors import FailInfoError, Malformed, ThirdPartyFailed, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scepkit.enrolment.answers import ServiceAnswer
    from scepkit.operations.profile_trial import Challenged, Trial
    from scepkit.protocol.certificate import Certificate
    from scepkit.protocol.csr import CertificationRequest
    from scepkit.server.directory.data_directory import Home
    from scepkit.server.settings import Settings
    from scepkit.store import Store

_MOST_OCTETS = 1 << 20


def try_(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Name of the profile.", show_default=False)
    ],
    request: Annotated[
        Path,
        typer.Argument(metavar="CSR", help="PKCS#10, PEM or DER; - is stdin.", show_default=False),
    ],
    *,
    data: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="Data of the challenge. Repeatable."),
    ] = None,
    label: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="Label of the challenge.", show_default=False),
    ] = None,
    bound: Annotated[
        bool,
        typer.Option("--bound", help="As if the challenge were bound to the request's names."),
    ] = False,
    service: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="Data of a service's answer. Repeatable."),
    ] = None,
    service_subject: Annotated[
        str | None,
        typer.Option(
            metavar="DN", help="The one subject that the service agrees to.", show_default=False
        ),
    ] = None,
    service_san: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Alternative name that it agrees to beside that subject: dns:, ip:, … Repeatable.",
        ),
    ] = None,
    old: Annotated[
        Path | None,
        typer.Option(
            "--signed-by-old",
            metavar="CERT",
            help="As a renewal, signed by this certificate of the endpoint.",
            show_default=False,
        ),
    ] = None,
    endpoint: Annotated[
        str | None,
        typer.Option(
            "--endpoint",
            metavar="NAME",
            help="Endpoint. Default: the first one with this profile.",
            show_default=False,
        ),
    ] = None,
    pem: Annotated[
        bool, typer.Option("--pem", help="Print the certificate as PEM, alone.")
    ] = False,
    as_json: JsonOption = False,
    directory: DirectoryOption = DEFAULT_DIRECTORY,
) -> None:
    """Show the certificate that a request would get, and the rules that acted.

    It is signed by a key that is thrown away. Nothing is issued and nothing is stored; the request
    needs no challenge. An operator's approval is not waited for. A service is not asked: what it
    would say is given by the options that begin with --service.

    What pkilint finds is shown where it is installed. The status is 1 if the request would be
    refused.
    """
    with records_opened(directory) as (home, store):
        where = _endpoint(home.settings, name, endpoint)
        csr, renewed = _request(request), None if old is None else _certificate(old)
        challenged = _challenged(data or (), label, is_bound=bound)
        answer = _answer(service or (), service_subject, service_san or ())
        trial = _tried(home, store, name, where, csr, challenged, answer, renewed)
    findings = _findings(trial)
    if as_json:
        terminal.json_data(_for_json(trial, name, where, findings))
    elif pem and trial.certificate is not None:
        terminal.data(trial.certificate.pem())
    elif trial.certificate is not None:
        _print(trial, findings)
    elif trial.refusal is not None:
        terminal.error(f"refused at the endpoint {where}: {trial.refusal.message}")
    if trial.refusal is not None:
        raise typer.Exit(FAILED)


def _endpoint(settings: Settings, name: str, given: str | None) -> str:
    """Return the endpoint of a trial.

    Raises:
        UsageError: there is no such profile.
    """
    from scepkit.server.settings import DEFAULT

    known(settings, name)
    having = (one for one, found in settings.endpoint.items() if found.profile == name)
    return given or next(having, DEFAULT)


def _request(path: Path) -> CertificationRequest:
    """Read a request.

    Raises:
        UsageError: the file cannot be read, is too large, or holds none, or one whose own
            signature does not hold.
    """
    from scepkit.keys.pem import dearmored
    from scepkit.protocol import csr

    octets = input_file.read(path, _MOST_OCTETS)
    labels = "CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST"
    found = next((der for one in labels if (der := dearmored(one, octets))), octets)
    try:
        return csr.verify(found)
    except Malformed as error:
        raise options.no_request(path, octets, error) from error


def _certificate(path: Path) -> Certificate:
    """Read the certificate that is renewed.

    Raises:
        UsageError: the file cannot be read, or holds none.
    """
    from scepkit.protocol.asn1 import textual
    from scepkit.protocol.certificate import Certificate

    try:
        return Certificate.read(textual.single(input_file.read(path, _MOST_OCTETS)))
    except Malformed as error:
        raise UsageError(
            f"{path} is no certificate: {error.message}",
            hint="name the file with the certificate that is renewed, PEM or DER",
        ) from error


def _challenged(data: list[str] | tuple[()], label: str | None, *, is_bound: bool) -> Challenged:
    from scepkit.enrolment.challenges.orders import read_data
    from scepkit.operations.profile_trial import Challenged

    return Challenged(label, read_data(data), is_bound)


def _answer(data: Sequence[str], subject: str | None, names: Sequence[str]) -> ServiceAnswer | None:
    """Return the answer of a service; None where nothing is said of one.

    Raises:
        UsageError: no service could say so.
    """
    from scepkit.enrolment.answers import ServiceAnswer
    from scepkit.enrolment.challenges.orders import read_data

    if not (data or subject or names):
        return None
    try:
        return ServiceAnswer(subject=subject, names=tuple(names), data=read_data(data))
    except ThirdPartyFailed as error:
        raise UsageError(error.message, hint="look at the options --service…") from error


def _tried(
    home: Home,
    store: Store,
    name: str,
    endpoint: str,
    csr: CertificationRequest,
    challenged: Challenged,
    answer: ServiceAnswer | None,
    renewed: Certificate | None,
) -> Trial:
    from scepkit.operations import profile_trial
    from scepkit.server.directory.data_directory import endpoint_settings, utc_now
    from scepkit.server.endpoints.rehearsal import rehearsal

    now = utc_now()
    allowed = endpoint_settings(home.settings, endpoint).legacy
    try:
        challenge = challenged.by(csr, endpoint, now)
    except FailInfoError as error:
        return profile_trial.Trial(refusal=error)
    admission = rehearsal(home, store, endpoint, name, challenge, answer)
    return profile_trial.attempt(admission, csr, renewed, allowed=allowed, now=now)


def _findings(trial: Trial) -> tuple[str, ...] | None:
    """Return what pkilint finds; None where there is nothing to look at, or no pkilint."""
    from scepkit.operations import linting

    return None if trial.certificate is None else linting.findings(trial.certificate.der)


def _print(trial: Trial, findings: tuple[str, ...] | None) -> None:
    from scepkit.cli.certificate_text import lines

    shown = [] if trial.certificate is None else [*lines(trial.certificate)]
    shown += ["", "Rules that acted:", *(f"  {one}" for one in trial.rules or ("none",))]
    if findings is not None:
        shown += ["", "pkilint:", *(f"  {one}" for one in findings or ("finds nothing wrong",))]
    for line in shown:
        terminal.data(terminal.escape(line))
    if findings is None:
        terminal.say("pkilint is not installed, which would check it (pip install pkilint)")


def _for_json(
    trial: Trial, name: str, endpoint: str, findings: tuple[str, ...] | None
) -> dict[str, object]:
    from scepkit.cli.certificate_text import lines

    found = trial.certificate
    return {
        "profile": name,
        "endpoint": endpoint,
        "refused": "" if trial.refusal is None else trial.refusal.message,
        "rules": [*trial.rules],
        "pkilint": None if findings is None else [*findings],
        "text": [] if found is None else [*lines(found)],
        "pem": "" if found is None else found.pem(),
    }
