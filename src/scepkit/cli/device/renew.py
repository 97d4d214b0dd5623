"""`scep renew`: get a certificate in place of one before that ends."""

from __future__ import annotations

from functools import partial

import typer

from scepkit.cli import options
from scepkit.cli.device import renew_options as its
from scepkit.cli.help import Command

_EPILOG = """
\b
Example, for a daily timer:
  scep renew /etc/www

\b
Exit status:
  0  renewed, or not yet time      2  wrong usage, or a file cannot be used
  1  refused, revoked, or failed   3  waiting for approval: run it again
"""


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command(
        "renew",
        cls=Command,
        short_help="Renew the certificate in a directory if it is due.",
        epilog=_EPILOG,
    )(renew)


def renew(
    directory: options.Directory,
    *,
    before: its.Before = "",
    force: its.Force = False,
    same_key: its.SameKey = False,
    key: its.Key = "",
    eku: its.Eku = None,
    next_ca: its.NextCA = False,
    message: its.Message = "",
    challenge: its.Challenge = None,
    challenge_file: options.ChallengeFile = None,
    fingerprint: options.Fingerprint = "",
    ca_file: options.CaFile = None,
    legacy: its.LegacyList = None,
    poll_interval: options.PollInterval = 60,
    max_wait: options.MaxWait = 86400,
    url: its.Url = "",
    ca_id: its.CaId = None,
    tls_ca: options.TlsCa = None,
    proxy: options.Proxy = None,
    timeout: options.Timeout = 30,
    as_json: options.Json = False,
) -> None:
    """Renew the certificate in a directory if it is due; otherwise say when it will be.

    A certificate that is not due is checked for revocation, if it names an OCSP responder or a CRL.

    The request has the same subject, names and purposes. The old key and certificate stay until
    the new ones are there. Server, CA and algorithms are those recorded in DIR, unless an option
    says otherwise.
    """
    from scepkit.cli.device import challenge as challenges
    from scepkit.cli.device import connection, renewable, revoked, trust
    from scepkit.cli.device import next_ca as successor
    from scepkit.cli.device import renew_steps as steps

    # What can be wrong with the options is said before anything happens.
    wanted = steps.read(before, key, eku, message, force=force, same_key=same_key, next_ca=next_ca)
    whom = trust.Whom(fingerprint, ca_file)
    limits = connection.limits(poll_interval, max_wait)
    # One that enrolled the device is still in many an environment, and is spent.
    secret = partial(challenges.read, challenge, challenge_file, environment=False)
    with renewable.opened(directory) as folder:
        record = renewable.record(folder, url=url, ca_id=ca_id, legacy=legacy, tls_ca=tls_ca)
        client = connection.recorded(record, timeout=timeout, proxy=proxy, limits=limits)
        standing = partial(revoked.check, folder, record, proxy=proxy, timeout=timeout)
        if steps.has_to_ask(wanted, folder):
            steps.renew(client, whom, wanted, secret, record, folder, standing, as_json=as_json)
        else:
            state = standing()
            successor.look_ahead(client, folder, record)
            steps.report_not_yet(wanted, folder, state, as_json=as_json)
