"""docs/how-to/stolen-laptop.md as it stands, with Debian's nginx: accepted, revoked, refused."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from cryptography import x509

from interop.pages import Page
from interop.programs import Daemon, environment, require, run
from interop.serving import SCEP, wait_for
from ports import free_port
from scepkit.protocol.certificate import show_serial
from waiting import PATIENCE, wait_until

pytestmark = [pytest.mark.interop, pytest.mark.long]

PAGE = Path(__file__).parents[2] / "docs/how-to/stolen-laptop.md"
CA_ID = "0123456789abcdef"  # in the page
SERIAL = "2ce421f9721e61882ae5877296cd03a1"

# What Debian's /etc/nginx/nginx.conf says, without its places.
NGINX = """\
{user}
pid {home}/nginx.pid;
error_log {home}/error.log info;
events {{}}
http {{
    access_log off;
    client_body_temp_path {home}/tmp;
    proxy_temp_path {home}/tmp;
    fastcgi_temp_path {home}/tmp;
    uwsgi_temp_path {home}/tmp;
    scgi_temp_path {home}/tmp;
    include {home}/sites-enabled/*;
}}
"""


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    """Two machines of the page: a SCEP server, and nginx before the page was read."""
    nginx, openssl, curl = require("nginx", "openssl", "curl")
    tmp_path = tmp_path_factory.mktemp("stolen")
    home = tmp_path / "nginx"
    for name in ("sites-enabled", "scep"):
        (home / name).mkdir(parents=True)
    (home / "nginx.conf").write_text(
        NGINX.format(home=home, user="user root;" if os.geteuid() == 0 else "")
    )
    run(
        *(openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost"),
        *("-addext", "subjectAltName=DNS:localhost", "-days", "1"),
        *("-keyout", home / "intranet.key", "-out", home / "intranet.pem"),
        cwd=home,
    )
    programs = tmp_path / "bin"
    programs.mkdir()
    options = f"-c {home}/nginx.conf -e {home}/error.log"
    write_program(programs / "nginx", f'#!/bin/sh\nexec {nginx} {options} "$@"\n')
    write_program(programs / "scep", f'#!/bin/sh\nexec {sys.executable} -m scepkit "$@"\n')
    # The page's web server has a certificate that everybody trusts.
    trusted = f"--cacert {home}/intranet.pem"
    write_program(
        programs / "curl",
        f'#!/bin/sh\ncase "$*" in *https://*) set -- {trusted} "$@";; esac\nexec {curl} "$@"\n',
    )
    port, tls_port, data = free_port(), free_port(), tmp_path / "scep"
    url = f"http://localhost:{port}/scep"
    data.mkdir()
    (data / "scep.toml").write_text(f'public_url = "{url}"\nport = {port}\nlog = "json"\n')
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(
            Daemon("scep serve", [*SCEP, "serve", "--dir", data], subdirectory(tmp_path, "server"))
        )
        wait_for(url, server)
        command = [programs / "nginx", "-g", "daemon off;"]
        stack.enter_context(Daemon("nginx", command, subdirectory(tmp_path, "web")))
        wait_until((home / "nginx.pid").exists, "nginx")
        yield SimpleNamespace(
            directory=tmp_path,
            nginx=home,
            programs=programs,
            data=data,
            url=url,
            port=port,
            tls_port=tls_port,
            openssl=openssl,
        )


def subdirectory(directory, name):
    (directory / name).mkdir()
    return directory / name


def write_program(path, text):
    path.write_text(text)
    path.chmod(0o755)


def typed(bench, command):
    """Type a command; return its output."""
    path = f"{bench.programs}{os.pathsep}{os.environ['PATH']}"
    done = run("/bin/bash", "-c", command, cwd=bench.directory, PATH=path)
    assert done.status == 0, f"{command}\n{done.text}"
    return done.out


def enrol(bench, name):
    secret = typed(bench, f"scep admin challenge new --dir {bench.data}").strip()
    typed(
        bench,
        f"scep enroll {bench.url} --subject CN={name},O=Example --out {name} "
        f"--challenge {secret} --ca {bench.data}/ca.pem",
    )
    pem = (bench.directory / name / "cert.pem").read_bytes()
    return x509.load_pem_x509_certificate(pem)


def crl_url(certificate):
    points = certificate.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    return points[0].full_name[0].value


@pytest.fixture(scope="module")
def laptop8(bench):
    """Nobody steals this one."""
    return enrol(bench, "laptop8")


def page(bench, stolen, nginx):
    """Return the page with the names of this machine."""
    return Page(
        PAGE,
        {
            "http://pki.example.com:8080": f"http://localhost:{bench.port}",
            "https://intranet.example.com": f"https://localhost:{bench.tls_port}",
            "intranet.example.com": "localhost",
            "listen 443": f"listen 127.0.0.1:{bench.tls_port}",
            CA_ID: crl_url(stolen).rpartition("/")[2].removesuffix(".crl"),
            SERIAL: show_serial(stolen.serial_number),
            "/etc/nginx": nginx,
            "/usr/local/sbin": bench.programs,
            "/var/lib/scep": bench.data,
        },
    )


def renewed(bench, name):
    """Renew a laptop's certificate; keep what it had before in another directory."""
    shutil.copytree(bench.directory / name, bench.directory / f"{name}-before")
    typed(bench, f"scep renew {name} --force")
    pem = (bench.directory / name / "cert.pem").read_bytes()
    return x509.load_pem_x509_certificate(pem)


def test_the_page(bench, laptop8):
    """Every file and every command on it, in its order, for a laptop that has renewed.

    Neither its certificate of today nor the one of before, which is valid still, gets in any more.
    """
    enrol(bench, "laptop7")
    how_to = page(bench, renewed(bench, "laptop7"), bench.nginx)
    (bench.nginx / "scep/ca.pem").write_bytes((bench.data / "ca.pem").read_bytes())
    write_program(bench.programs / "refresh-crl", how_to.file("sh"))
    assert how_to.file("toml").strip() in (bench.data / "scep.toml").read_text()
    schedule, user, by_cron = how_to.file("cron").strip().rpartition(" root ")
    assert (len(schedule.split()), user) == (5, " root ")
    typed(bench, by_cron)
    (bench.nginx / "sites-enabled/intranet").write_text(how_to.file("nginx"))
    typed(bench, "nginx -t -q && nginx -s reload")
    distribution, accepted, *finding, by_hand, refused, others = how_to.commands
    distribution.check(typed(bench, distribution.text))
    wait_until(lambda: listens(bench), "nginx to listen")
    before = accepted.text.replace("laptop7/", "laptop7-before/")
    for get in (accepted.text, before):
        accepted.check(typed(bench, get))
    for command in finding:
        command.check(typed(bench, command.text))
    # What cron does every five minutes: sooner or later it finds the new CRL.
    assert by_hand.text == by_cron

    def is_refused():
        typed(bench, by_cron)
        return "hello" not in typed(bench, accepted.text)

    wait_until(is_refused, "nginx to refuse the laptop")
    # For a moment both accept: the worker with the new CRL and, until it is told, the one without.
    wait_until(lambda: len(workers(bench)) == 1, "the old worker to go")
    for get in (refused.text, refused.text.replace("laptop7/", "laptop7-before/")):
        refused.check(typed(bench, get))
    others.check(typed(bench, others.text))
    assert "certificate revoked" in (bench.nginx / "error.log").read_text()


def workers(bench):
    """Return the worker processes of nginx."""
    master = (bench.nginx / "nginx.pid").read_text().strip()
    return Path(f"/proc/{master}/task/{master}/children").read_text().split()


def listens(bench):
    done = run(
        *(bench.openssl, "s_client", "-connect", f"localhost:{bench.tls_port}"),
        cwd=bench.directory,
    )
    return "BEGIN CERTIFICATE" in done.out


def test_a_crl_of_somebody_else(bench, laptop8, tmp_path):
    """refresh-crl leaves nginx what it has when the CA did not sign what came."""
    how_to = page(bench, laptop8, tmp_path)
    (tmp_path / "scep").mkdir()
    (tmp_path / "scep/ca.pem").write_bytes((bench.nginx / "intranet.pem").read_bytes())
    (tmp_path / "scep/crl.pem").write_text("the last good one")
    write_program(tmp_path / "refresh-crl", how_to.file("sh"))
    done = run(tmp_path / "refresh-crl", crl_url(laptop8), cwd=tmp_path)
    assert done.status != 0
    assert (tmp_path / "scep/new.crl").exists()
    assert (tmp_path / "scep/crl.pem").read_text() == "the last good one"


def test_a_handshake_is_refused(bench, laptop8):
    """openssl s_server looks at the CRL within the handshake, and the thief hears why."""
    stolen = enrol(bench, "laptop9")
    typed(bench, f"scep admin revoke {show_serial(stolen.serial_number)} --dir {bench.data}")
    typed(bench, f"scep admin crl --dir {bench.data} --out crl.pem")
    port = free_port()
    command = [
        *(bench.openssl, "s_server", "-accept", f"127.0.0.1:{port}", "-www"),
        *("-cert", bench.nginx / "intranet.pem", "-key", bench.nginx / "intranet.key"),
        *("-Verify", "1", "-verify_return_error", "-CAfile", bench.data / "ca.pem"),
        *("-CRL", bench.directory / "crl.pem", "-crl_check_all"),
    ]
    with Daemon("openssl s_server", command, subdirectory(bench.directory, "tls")):
        wait_until(lambda: "HTTP/1.0 200 ok" in handshake(bench, port, "laptop8"), "an answer")
        said = handshake(bench, port, "laptop9")
        assert "certificate revoked" in said
        assert "HTTP/1.0 200 ok" not in said


def handshake(bench, port, name):
    """Return what a client with the certificate of a laptop sees."""
    own = bench.directory / name
    done = subprocess.run(
        [
            *(bench.openssl, "s_client", "-connect", f"127.0.0.1:{port}", "-ign_eof"),
            *("-cert", own / "cert.pem", "-key", own / "key.pem"),
        ],
        input=b"GET / HTTP/1.0\r\n\r\n",
        capture_output=True,
        env=environment(bench.directory),
        check=False,
        timeout=PATIENCE,
    )
    return (done.stdout + done.stderr).decode(errors="replace")
