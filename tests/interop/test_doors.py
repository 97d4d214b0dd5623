"""The doors for MDMs behind a real nginx, with the configuration of the pages as it stands."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from interop.pages import Page
from interop.programs import Daemon, require, run
from interop.serving import wait_for
from interop.test_stolen_laptop import NGINX, subdirectory
from ports import free_port
from server.live import SCEP, scep_here
from waiting import wait_until

pytestmark = pytest.mark.interop

HOW_TO = Path(__file__).parents[2] / "docs/how-to"
SECRET = "Wuchtgeschoss-17-Nord"
EVENT = {
    "webhook": {"webhookEvent": "SCEPChallenge"},
    "event": {"targetDevice": {"serialNumber": "C02XK1"}},
}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A server, and nginx before it: by TLS and in plain HTTP."""
    nginx, openssl, _ = require("nginx", "openssl", "curl")
    tmp_path = tmp_path_factory.mktemp("doors")
    home, data = tmp_path / "nginx", tmp_path / "scep"
    (home / "sites-enabled").mkdir(parents=True)
    data.mkdir()
    port, plain, tls = free_port(), free_port(), free_port()
    (home / "nginx.conf").write_text(
        NGINX.format(home=home, user="user root;" if os.geteuid() == 0 else "")
    )
    run(
        *(openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost"),
        *("-addext", "subjectAltName=DNS:localhost", "-days", "1"),
        *("-keyout", home / "pki.key", "-out", home / "pki.pem"),
        cwd=home,
    )
    (home / "sites-enabled/scep").write_text(configuration(home, port, plain, tls))
    (data / "jamf.txt").write_text(SECRET)
    (data / "jamf.txt").chmod(0o600)
    (data / "scep.toml").write_text(
        f"port = {port}\n[endpoint.default]\nndes = true\n"
        '[endpoint.default.jamf]\nuser = "jamf"\npassword_file = "jamf.txt"\n'
    )
    serve = [*SCEP, "serve", "--dir", data]
    with (
        Daemon("scep serve", serve, subdirectory(tmp_path, "server")) as server,
        Daemon(
            "nginx",
            [nginx, "-c", home / "nginx.conf", "-e", home / "error.log", "-g", "daemon off;"],
            subdirectory(tmp_path, "web"),
        ),
    ):
        wait_for(f"http://localhost:{port}/scep", server)
        wait_until((home / "nginx.pid").exists, "nginx")
        added = scep_here("admin", "ndes-account", "add", "mdm", "--dir", data)
        yield SimpleNamespace(
            ask=lambda scheme, path, *how: ask(home, scheme, plain, tls, path, *how),
            account=f"mdm:{added.stdout.strip()}",
        )


def configuration(home, port, plain, tls):
    """Return the servers of running.md, each with the location of ndes.md."""
    names = {
        "server_name pki.example.com;": "server_name localhost;",
        "listen 80;": f"listen 127.0.0.1:{plain};",
        "listen 443 ssl;": f"listen 127.0.0.1:{tls} ssl;",
        "/etc/nginx": home,
        "127.0.0.1:8080": f"127.0.0.1:{port}",
    }
    text = Page(HOW_TO / "running.md", names).file("nginx")
    location = re.search(
        r" *location.*?\n    }\n", Page(HOW_TO / "ndes.md", names).text, re.DOTALL
    )[0]
    first, second = text.split("server {")[1:]
    in_plain = location.replace("Proto https", "Proto http")
    return f"server {{\n{in_plain}{first}server {{\n{location}{second}"


def ask(home, scheme, plain, tls, path, *how):
    """Return the status and the body of an answer."""
    url = f"{scheme}://localhost:{tls if scheme == 'https' else plain}{path}"
    options = ("-s", "--ipv4", "--cacert", home / "pki.pem", "-w", "\n%{http_code}")
    done = run("curl", *options, *how, url, cwd=home)
    body, _, status = done.out.rpartition("\n")
    return int(status), body


def test_the_page_is_shown_by_tls_alone(site):
    path = "/certsrv/mscep_admin/?operation=NDESGenerateChallenge"
    status, body = site.ask("https", path, "-u", site.account)
    assert (status, bool(re.fullmatch("[0-9A-F]{16}", body))) == (200, True)
    # Whoever asks in plain HTTP cannot say that it is none.
    lie = ("-H", "X-Forwarded-Proto: https", "-H", "X-Forwarded-For: 127.0.0.1")
    for how in ((), lie):
        status, body = site.ask("http", path, "-u", site.account, *how)
        assert (status, "by TLS only" in body) == (403, True)


def test_curl_asks_again_when_it_is_told_that_basic_will_do(site):
    status, _ = site.ask("https", "/CertSrv/mscep_admin/", "--anyauth", "-u", site.account)
    assert status == 200


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_devices_get_scep_below_certsrv_either_way(site, scheme):
    status, body = site.ask(scheme, "/certsrv/mscep/mscep.dll?operation=GetCACaps")
    assert (status, "POSTPKIOperation" in body) == (200, True)


def test_the_webhook_is_answered_by_tls_alone(site):
    how = (
        *("-u", f"jamf:{SECRET}", "-H", "Content-Type: application/json"),
        *("--data", json.dumps(EVENT)),
    )
    status, body = site.ask("https", "/scep/default/challenge/jamf", *how)
    assert (status, bool(re.fullmatch("[A-Z2-7]{32}", body))) == (200, True)
    assert site.ask("http", "/scep/default/challenge/jamf", *how)[0] == 403


def test_wrong_passwords_count_for_whoever_sent_them(site):
    """nginx says who: here always 127.0.0.1, and so all that come through it."""
    path = "/scep/default/mscep_admin/"
    statuses = [site.ask("https", path, "-u", "mdm:wrong-password")[0] for _ in range(12)]
    assert statuses[0] == 401
    assert statuses[-1] == 429
