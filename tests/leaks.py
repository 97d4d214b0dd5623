"""The pytest plugin that fails a run in which a secret got into a log.

Secrets are every challenge that was made or sent in this process, and every private key in a file
that the tests left.
Logs are what any test wrote to stderr or logged, and every `*.log` of a server that ran. Stdout is
none: `scep admin challenge new` says the challenges there, which is what it is for.

All of it is only collected while the tests run, and compared when they are over: with pytest-xdist
by the controller, for a secret of one worker may be in the log of another.
"""

from __future__ import annotations

import base64
import functools
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)

import workers

# Shorter ones are the made-up words of tests ("secret"), which stand in messages with good reason.
MIN_SIZE = 8
_PRIVATE_KEY = "PRIVATE KEY-----"


class Collector:
    """What is collected in one run."""

    def __init__(self) -> None:
        self.secrets: set[str] = set()
        self.logs: dict[str, set[str]] = defaultdict(set)

    def add_secret(self, text: str | None) -> None:
        """Remember a secret."""
        if text and len(text) >= MIN_SIZE:
            self.secrets.add(text)

    def add_log(self, source: str, text: str) -> None:
        """Remember what was written somewhere; equal lines are kept once."""
        self.logs[source].update(text.splitlines())

    def add_files(self, root: Path) -> None:
        """Remember the logs and the private keys that are below a directory."""
        # Tests copy directories thousands of times: what is the same is looked at once.
        seen: set[bytes] = set()
        for path in sorted(root.rglob("*")):
            if path.suffix == ".log" and path.is_file():
                self.add_log(path.name, path.read_text("utf-8", "replace"))
            elif path.suffix in (".pem", ".key") and path.is_file():
                content = path.read_bytes()
                if content not in seen:
                    seen.add(content)
                    for secret in secrets_of(content):
                        self.add_secret(secret)

    def as_json(self) -> dict:
        """Return all of it, to be collected by `add_json` of another process."""
        logs = {source: sorted(lines) for source, lines in self.logs.items()}
        return {"secrets": sorted(self.secrets), "logs": logs}

    def add_json(self, other: dict) -> None:
        """Remember what another process collected."""
        self.secrets.update(other["secrets"])
        for source, lines in other["logs"].items():
            self.logs[source].update(lines)

    def leaks(self) -> list[str]:
        """Say where a secret is, without saying it again."""
        # By their first octets, so that each place in a log is looked at once.
        by_start: dict[str, list[str]] = defaultdict(list)
        for secret in (*self.secrets, _PRIVATE_KEY):
            by_start[secret[:MIN_SIZE]].append(secret)
        return [
            f"{source}: {line.replace(secret, '[the secret]')[:200]}"
            for source, lines in self.logs.items()
            for line in lines
            for secret in _found(line, by_start)
        ]


def _found(line: str, by_start: dict[str, list[str]]) -> Iterator[str]:
    for at in range(len(line) - MIN_SIZE + 1):
        for secret in by_start.get(line[at : at + MIN_SIZE], ()):
            if line.startswith(secret, at):
                yield secret


def secrets_of(content: bytes) -> Iterable[str]:
    """Return what must not be seen of a key file: the lines of its PEM, or its octets as text."""
    if b"-----BEGIN" in content:
        if b"PRIVATE KEY-----" in content:
            # The first line is the same in many keys: version and algorithm.
            private = content.partition(b"PRIVATE KEY-----")[2].partition(b"-----END")[0]
            public = _public_half(content)
            for line in private.decode("ascii", "replace").split()[1:]:
                # The modulus is in there as well, and in every certificate, line by line with luck.
                if not public or base64.b64decode(line + "==") not in public:
                    yield line
    elif content:
        yield content.hex()
        yield base64.b64encode(content).decode("ascii")
        yield content.decode("latin-1").strip()


def _public_half(content: bytes) -> bytes:
    try:
        key = load_pem_private_key(content, None, unsafe_skip_rsa_key_validation=True)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return b""
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _observed(function: Callable, see: Callable) -> Callable:
    """Return the function, with `see` called on what it was given and what it returned."""

    @functools.wraps(function)
    def observed(*arguments, **options):
        result = function(*arguments, **options)
        see(arguments, options, result)
        return result

    return observed


class _Plugin:
    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._collector = Collector()
        self._patch = pytest.MonkeyPatch()
        self._faults: list[str] = []

    def pytest_sessionstart(self) -> None:
        """Look on at our own functions, which do what they did, and at what pytest captures."""
        import forge
        from scepkit.enrolment.challenges.one_time import OneTimeChallenges
        from scepkit.protocol import csr

        add = self._collector.add_secret
        self._observe(csr, "build", lambda _, how, __: add(how.get("challenge_password")))
        self._observe(OneTimeChallenges, "draw", lambda _, __, drawn: add(drawn[0]))
        self._observe(forge, "challenge", lambda given, *_: [add(v) for v in given if v is str(v)])
        self._observe(pytest.CaptureFixture, "readouterr", lambda _, __, text: self._see(text.err))

    def _observe(self, where: object, name: str, see: Callable) -> None:
        self._patch.setattr(where, name, _observed(getattr(where, name), see))

    def _see(self, text: str | bytes) -> None:
        self._collector.add_log("stderr", text if isinstance(text, str) else text.decode())

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Collect what a test wrote; a worker's reports come to the controller as well."""
        text = report.capstderr + report.caplog
        if text and not workers.is_worker(self._config):
            self._collector.add_log(report.nodeid, text)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node) -> None:
        """Collect what a worker collected; one that cannot say it any more fails the run."""
        collected = workers.told(node, "leaks")
        if collected is None:
            self._faults.append(f"{node.gateway.id} ended without a word: its logs are not checked")
        else:
            self._collector.add_json(collected)

    # First: pytest unlocks the run's directories in this hook, and another run may delete them.
    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Compare, and fail the run if a secret is in a log."""
        self._patch.undo()
        if workers.is_worker(self._config):
            workers.tell(self._config, "leaks", self._collector.as_json())
            return
        # The directories of workers are below the controller's.
        if factory := getattr(self._config, "_tmp_path_factory", None):
            self._collector.add_files(factory.getbasetemp())
        self._faults += [f"SECRET IN A LOG: {leak}" for leak in self._collector.leaks()[:20]]
        if self._faults and session.exitstatus in (pytest.ExitCode.OK, 5):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter) -> None:
        """Say what was found."""
        for fault in self._faults:
            terminalreporter.write_line(fault, red=True)


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(_Plugin(config), "scepkit-leaks")
