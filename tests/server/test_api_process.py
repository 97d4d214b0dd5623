"""The API as a process of its own beside the workers: `scep serve`, TLS, kill -9, reload."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import ssl
import stat
import subprocess
import sys
import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509

from scepkit.errors import SettingsError
from scepkit.keys.pem import sha256_fingerprint
from scepkit.server import run
from scepkit.server import settings as server_settings
from server.live import is_running, scep_here
from waiting import wait_until

pytest.importorskip("fastapi", reason="pip install 'scepkit[api]'")
tls = pytest.importorskip("scepkit.server.api.tls")


def configured(directory, *lines):
    path = directory / "scep.toml"
    path.write_text("\n".join((*lines, path.read_text())))
    return directory


def context_of(directory):
    return ssl.create_default_context(cafile=directory / "api-tls.pem")


class Door:
    """The API of a server."""

    def __init__(self, server):
        self.server = server
        said = [server.process.stdout.readline() for _ in range(2)]
        self.url = said[0].split()[1]
        self.fingerprint = said[1].split()[-1]
        self.port = int(self.url.split(":")[2].split("/")[0])
        self.context = context_of(server.directory)

    def ask(self, path, token=None, body=None):
        headers = {"Content-Type": "application/json"} if body is not None else {}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, headers)
        with urllib.request.urlopen(request, context=self.context, timeout=30) as answer:
            return answer.status, json.loads(answer.read())

    def connect(self):
        plain = socket.create_connection(("127.0.0.1", self.port), 30)
        return self.context.wrap_socket(plain, server_hostname="localhost")


def new_token(directory):
    done = scep_here("admin", "token", "create", "--scope", "challenges:write", "--dir", directory)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_its_life(directory, serve):
    """TLS of its own making, a challenge that a device can use, kill -9, and the end."""
    server = serve(configured(directory(), 'api = "127.0.0.1:0"'))
    door = Door(server)
    token = new_token(server.directory)
    shown = ssl.DER_cert_to_PEM_cert(_certificate_of(door))
    assert sha256_fingerprint(x509.load_pem_x509_certificate(shown.encode())) == door.fingerprint
    assert stat.S_IMODE((server.directory / "api-tls-key.pem").stat().st_mode) == 0o600
    assert door.ask("/health") == (200, {"status": "ok"})
    _, made = door.ask("/endpoints/default/challenges", token, {"subject": "CN=device"})
    assert server.enrol(made["challenge"], subject="CN=device").certificate
    # The fork server is given one after the other.
    _, api = sorted(server.workers)
    os.kill(api, signal.SIGKILL)
    server.logged(event="the process of the API ended and is replaced")
    _answers(door)
    assert not is_running(api)
    assert server.ask("/healthz").status == 200
    assert door.ask("/endpoints/default/challenges", token, {})[0] == 201
    assert server.stop() == 0
    assert token not in server.log
    assert made["challenge"] not in server.log


def test_an_api_that_cannot_start_again(directory, serve):
    """Devices are served, and the health says what to see to until it is over."""
    server = serve(configured(directory(), 'api = "127.0.0.1:0"'))
    door = Door(server)
    assert _answers(door)
    certificate = server.directory / "api-tls.pem"
    away = certificate.rename(server.directory / "away.pem")
    os.kill(sorted(server.workers)[1], signal.SIGKILL)
    said = server.logged(event="the API cannot start")
    assert str(certificate) in said["error"]
    wait_until(lambda: server.ask("/healthz").text == '{"status":"degraded"}')
    server.logged(event="health", reason=f"the API cannot start: {said['error']}")
    away.rename(certificate)
    wait_until(lambda: server.ask("/healthz").text == '{"status":"ok"}')
    _answers(door)


def _certificate_of(door):
    with door.connect() as connection:
        return connection.getpeercert(binary_form=True)


def _answers(door):
    def ask():
        try:
            return door.ask("/health")
        except OSError:
            return None

    return wait_until(ask, "the API answers again")


def test_behind_a_proxy_that_does_tls(directory, serve):
    """On this machine, in clear; and what it says of who asks counts."""
    server = serve(configured(directory(), 'api = "127.0.0.1:0"', "api_tls = false"))
    url = server.process.stdout.readline().split()[1]
    assert url.startswith("http://127.0.0.1:")
    assert not (server.directory / "api-tls.pem").exists()

    def ask(**headers):
        request = urllib.request.Request(f"{url}/health", headers=headers)
        with (
            contextlib.suppress(urllib.error.HTTPError),
            urllib.request.urlopen(request, timeout=30) as answer,
        ):
            return answer.status
        return None

    named = {"X-Forwarded-For": "192.0.2.7"}
    assert ask() == 200
    assert ask(**named, **{"X-Forwarded-Proto": "https"}) == 200
    assert ask(**named, **{"X-Forwarded-Proto": "http"}) is None
    server.logged(event="api", peer="192.0.2.7", status=403)


def test_the_api_takes_new_settings_and_files_over(directory, serve):
    """A reload reaches it: the bound of a token, and the certificate for connections to come."""
    server = serve(configured(directory(), 'api = "127.0.0.1:0"'))
    door = Door(server)
    token = new_token(server.directory)
    before = _certificate_of(door)
    other = server.directory.with_name("other")
    other.mkdir(mode=0o700)
    settings = server_settings.load(server.directory)
    tls.prepare(settings.model_copy(update={"directory": other}), datetime.now(UTC))
    configured(
        server.directory,
        f'api_certificate = "{other}/api-tls.pem"',
        f'api_key = "{other}/api-tls-key.pem"',
        "api_requests_per_minute = 1",
    )
    done = scep_here("admin", "reload", "--dir", server.directory)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    door.context = context_of(other)
    assert _certificate_of(door) != before
    assert door.ask("/endpoints/default/challenges", token, {})[0] == 201
    with pytest.raises(urllib.error.HTTPError, match="429"):
        door.ask("/endpoints/default/challenges", token, {})
    # A key that is not the certificate's is refused before anybody takes it over.
    shutil.copy(server.directory / "api-tls-key.pem", other)
    done = scep_here("admin", "reload", "--dir", server.directory)
    assert done.returncode == 1
    assert "cannot be used for TLS" in done.stderr
    assert door.ask("/health")[0] == 200


def test_strangers_who_begin_a_handshake(directory, serve):
    """They are bounded; others get in, and who speaks no TLS gets no answer."""
    server = serve(configured(directory(), 'api = "127.0.0.1:0"'))
    door = Door(server)
    silent = [socket.create_connection(("127.0.0.1", door.port), 30) for _ in range(65)]
    server.logged(event="a bound is reached", bound="TLS handshakes")
    for one in silent:
        one.close()
    wait_until(lambda: _is_open(door), "a handshake")
    with socket.create_connection(("127.0.0.1", door.port), 30) as plain:
        plain.sendall(b"GET /api/v1/health HTTP/1.1\r\nHost: a\r\n\r\n")
        assert b"200" not in plain.recv(1000)


def _is_open(door):
    try:
        return door.ask("/health")
    except OSError:
        return None


def test_devices_are_served_without_what_the_api_is_made_of():
    code = (
        "import sys, scepkit.server.processes.supervision, scepkit.server.processes.worker\n"
        "import scepkit.server.run, scepkit.cli.serve, scepkit.cli.admin.commands\n"
        "print([one for one in ('fastapi', 'starlette', 'anyio') if one in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (['api = "8443"'], "api has to be HOST:PORT in quotes"),
        (['api = "127.0.0.1:1"', 'api_key = "k.pem"'], "api_key needs api_certificate"),
        (['api = "0.0.0.0:1"', "api_tls = false"], "no proxy is listed"),
        (['api = "api.example:1"', "api_tls = false"], "no proxy is listed"),
        (['api = "0.0.0.0:1"', "api_tls = false", 'proxies = ["*"]'], "anybody could send a token"),
        (
            [
                *('api = "127.0.0.1:1"', "api_tls = false"),
                *('api_certificate = "c.pem"', 'api_key = "k.pem"'),
            ],
            "no use for api_certificate",
        ),
    ],
)
def test_settings_that_are_refused(directory, lines, said):
    with pytest.raises(SettingsError, match=said):
        server_settings.load(configured(directory(), *lines))


@pytest.mark.parametrize(
    "lines",
    [
        ['api = "127.0.0.1:1"', "api_tls = false"],
        ['api = "[::1]:1"', "api_tls = false"],
        ['api = "localhost:1"', "api_tls = false"],
        ['api = "0.0.0.0:1"', "api_tls = false", 'proxies = ["192.0.2.1"]'],
        ['api = "0.0.0.0:1"'],
    ],
)
def test_settings_that_are_taken(directory, lines):
    assert server_settings.load(configured(directory(), *lines)).api


def test_files_that_cannot_be_used_are_told_before_the_start(directory):
    path = configured(
        directory(), 'api = "127.0.0.1:0"', 'api_certificate = "c.pem"', 'api_key = "k.pem"'
    )
    settings = server_settings.load(path)
    with pytest.raises(SettingsError, match=r"there is no key file .*k\.pem"):
        run.bind_api(settings)
    own = settings.model_copy(update={"api_certificate": None, "api_key": None})
    shown = tls.prepare(own, datetime.now(UTC))
    (path / "api-tls-key.pem").rename(path / "k.pem")
    with pytest.raises(SettingsError, match=r"c\.pem: No such file"):
        run.bind_api(settings)
    (path / "c.pem").write_text("no certificate")
    with pytest.raises(SettingsError, match="cannot be used for TLS"):
        run.bind_api(settings)
    (path / "api-tls.pem").rename(path / "c.pem")
    with pytest.raises(SettingsError, match="ended at"):
        tls.prepare(settings, shown.not_valid_after_utc)
    assert tls.prepare(settings, datetime.now(UTC)) == shown
    (path / "k.pem").chmod(0o644)
    with pytest.raises(SettingsError, match="is open to others"):
        run.bind_api(settings)


def test_the_certificate_that_is_made_stays_until_its_end(directory):
    settings = server_settings.load(configured(directory(), 'api = "192.0.2.5:1"'))
    now = datetime.now(UTC)
    first = tls.prepare(settings, now)
    assert tls.prepare(settings, now + timedelta(days=3000)) == first
    names = first.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert {"localhost"} <= set(names.get_values_for_type(x509.DNSName))
    assert {"127.0.0.1", "192.0.2.5"} <= {
        str(one) for one in names.get_values_for_type(x509.IPAddress)
    }
    later = first.not_valid_after_utc
    assert tls.prepare(settings, later) != first
    # That one is not valid yet where the clock was ahead.
    right = tls.prepare(settings, now)
    assert right.not_valid_before_utc <= now < right.not_valid_after_utc
    (settings.directory / "api-tls-key.pem").unlink()
    assert tls.prepare(settings, later).not_valid_after_utc > later


def test_what_is_not_installed_is_named(directory, monkeypatch):
    settings = server_settings.load(configured(directory(), 'api = "127.0.0.1:0"'))
    monkeypatch.setattr(run.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(SettingsError, match="API's part of scepkit is not installed"):
        run.bind_api(settings)
