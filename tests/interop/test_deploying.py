"""The agent's hooks with real programs: they show the new certificate, and stay up."""

from __future__ import annotations

import itertools
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from cryptography import x509

import ports
from httpd import Site
from interop.charon import DEVICE, GATEWAY, SWANCTL, certificates, established, strongswan
from interop.island import Island
from interop.pages import Page
from interop.programs import require
from pair import grant
from scepkit.client.folder.files import read_certificate, read_certificates
from waiting import wait_until

pytestmark = [pytest.mark.interop, pytest.mark.long]

PAGE = Path(__file__).parents[2] / "docs/how-to/agent.md"

NGINX = """
daemon off;
pid {here}/nginx.pid;
error_log stderr;
{user}
events {{}}
http {{
    access_log off;
    client_body_temp_path {here}/body; proxy_temp_path {here}/proxy;
    fastcgi_temp_path {here}/fastcgi; uwsgi_temp_path {here}/uwsgi; scgi_temp_path {here}/scgi;
    server {{
        listen 127.0.0.1:{port} ssl;
        ssl_certificate {here}/www.pem;
        ssl_certificate_key {here}/root/www/key.pem;
        return 200 "well";
    }}
}}
"""

HAPROXY = """
global
    pidfile {here}/haproxy.pid
defaults
    mode http
    timeout connect 5s
    timeout client 5s
    timeout server 5s
frontend www
    bind 127.0.0.1:{port} ssl crt {here}/bundle.pem
    http-request return status 200
"""


@pytest.fixture
def scep(tmp_path):
    """Run `scep` as a process."""
    plain = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}

    def scep(*words):
        command = [sys.executable, "-m", "scepkit", *map(str, words)]
        done = subprocess.run(
            command, cwd=tmp_path, env=plain, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stderr

    return scep


@pytest.fixture
def device(scep, tmp_path):
    """A TLS server's directory, with the files that programs want."""
    with Site(*[grant] * 9) as site:
        scep(
            *("enroll", site.url, "--subject", "CN=www", "--san", "127.0.0.1"),
            *(
                "--fingerprint",
                site.fingerprint,
                "--eku",
                "server_auth,client_auth",
                "--out",
                "root/www",
            ),
            *("--fullchain", "www.pem", "--bundle", "bundle.pem"),
        )
        yield tmp_path / "root" / "www"


@pytest.fixture
def start(tmp_path):
    """Start a program, and stop it after the test."""
    running = []

    def start(*words):
        with (tmp_path / "log").open("ab") as log:
            running.append(subprocess.Popen(words, cwd=tmp_path, stdout=log, stderr=log))
        return running[-1]

    yield start
    for one in running:
        one.terminate()
        one.wait()


def program(name):
    (path,) = require(name)
    return path


def shown(port):
    """Return the certificate that a server shows; None while it does not listen."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with (
            socket.create_connection(("127.0.0.1", port), timeout=5) as plain,
            context.wrap_socket(plain) as made,
        ):
            return made.getpeercert(binary_form=True)
    except OSError:
        return None


def deploy(scep, device, port, process, *hook):
    """Renew, and see that the program shows the new certificate and is the same process."""
    first = read_certificate(device / "cert.pem").der
    wait_until(lambda: shown(port) == first, "the first certificate")
    scep("renew", "--all", "root", "--force")
    second = read_certificate(device / "cert.pem").der
    assert second != first
    assert shown(port) == first
    said = scep("agent", "--once", "root", "--deploy-hook", *hook)
    assert "root/www: deployed" in said
    wait_until(lambda: shown(port) == second, "the second certificate")
    assert process.poll() is None


def test_nginx(scep, device, start, tmp_path):
    nginx, port = program("nginx"), ports.free_port()
    user = "user root;" if os.geteuid() == 0 else ""
    (tmp_path / "nginx.conf").write_text(NGINX.format(here=tmp_path, port=port, user=user))
    words = (nginx, "-p", str(tmp_path), "-c", "nginx.conf")
    process = start(*words)
    deploy(scep, device, port, process, f"{nginx} -p {tmp_path} -c nginx.conf -s reload")


def test_haproxy(scep, device, start, tmp_path):
    haproxy, port = program("haproxy"), ports.free_port()
    (tmp_path / "haproxy.cfg").write_text(HAPROXY.format(here=tmp_path, port=port))
    process = start(haproxy, "-W", "-db", "-f", "haproxy.cfg")
    # What systemctl reload haproxy does: the unit checks the configuration, then sends SIGUSR2.
    reload = tmp_path / "reload"
    reload.write_text(
        f"#!/bin/sh\nset -e\n{haproxy} -c -q -f {tmp_path}/haproxy.cfg\nkill -USR2 {process.pid}\n"
    )
    reload.chmod(0o755)
    deploy(scep, device, port, process, str(reload))


RADIUS = """
prefix = /usr
libdir = /usr/lib/freeradius
name = freeradius
run_dir = {here}
pidfile = {here}/radius.pid
security {{
    allow_vulnerable_openssl = yes
}}
log {{
    destination = stdout
}}
thread pool {{
    start_servers = 1
}}
client here {{
    ipaddr = 127.0.0.1
    secret = testing123
}}
modules {{
    eap {{
        default_eap_type = tls
        tls-config tls-common {{
            private_key_file = {here}/root/www/key.pem
            certificate_file = {here}/www.pem
            ca_file = {here}/root/www/ca.pem
        }}
        tls {{
            tls = tls-common
        }}
    }}
}}
server default {{
    listen {{
        type = auth
        ipaddr = 127.0.0.1
        port = {port}
    }}
    authorize {{
        eap
    }}
    authenticate {{
        eap
    }}
}}
"""

SUPPLICANT = """
network={{
    key_mgmt=IEEE8021X
    eap=TLS
    identity="host/www"
    ca_cert="{here}/root/www/ca.pem"
    client_cert="{here}/root/www/cert.pem"
    private_key="{here}/root/www/key.pem"
}}
"""


def test_freeradius(scep, device, tmp_path):
    """It reads certificates at its start alone, so the hook starts it anew."""
    freeradius, eapol_test = program("freeradius"), program("eapol_test")
    port = ports.free_port()
    (tmp_path / "radiusd.conf").write_text(RADIUS.format(here=tmp_path, port=port))
    (tmp_path / "eapol.conf").write_text(SUPPLICANT.format(here=tmp_path))
    words = f"{freeradius} -d {tmp_path} -n radiusd"
    # What systemctl restart freeradius does.
    restart = tmp_path / "restart"
    restart.write_text(
        f"#!/bin/sh\nset -e\n{words} -C\n"
        f'if [ -e {tmp_path}/radius.pid ]; then kill "$(cat {tmp_path}/radius.pid)"; fi\n'
        f"while [ -e {tmp_path}/radius.pid ]; do sleep 0.1; done\n{words}\n"
    )
    restart.chmod(0o755)

    def shown():
        """Return the certificate that the server shows to somebody who logs in."""
        seen = tmp_path / "seen.pem"
        seen.unlink(missing_ok=True)
        ask = [eapol_test, "-c", "eapol.conf", "-a", "127.0.0.1", "-p", str(port)]
        done = subprocess.run(
            [*ask, "-s", "testing123", "-t", "5", "-o", str(seen)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        is_in = done.returncode == 0 and "SUCCESS" in done.stdout
        # From the CA down.
        return read_certificates(seen)[-1].der if is_in else None

    try:
        for _ in range(2):
            assert ": deployed" in scep("agent", "--once", "root", "--deploy-hook", str(restart))
            current = read_certificate(device / "cert.pem").der
            wait_until(lambda current=current: shown() == current, "its certificate")
            scep("renew", "--all", "root", "--force")
            assert read_certificate(device / "cert.pem").der != current
    finally:
        if (tmp_path / "radius.pid").exists():
            os.kill(int((tmp_path / "radius.pid").read_text()), signal.SIGTERM)


def test_strongswan(scep, device, start, tmp_path):
    """The gateway sees the new certificate, and the connection that was there stays."""
    require("charon-systemd", "swanctl")
    connection = SWANCTL.format(peer="192.0.2.1", local=DEVICE, remote=GATEWAY)
    here = strongswan(start, tmp_path, "device", connection)
    connection = SWANCTL.format(peer="%any", local=GATEWAY, remote=DEVICE)
    gateway = strongswan(start, tmp_path, "gateway", connection)
    (tmp_path / "gateway/x509ca/ca.pem").write_bytes((device / "ca.pem").read_bytes())
    cable = f"ip link add lan type veth peer name lan netns {here.pid}"
    gateway.run("sh", "-c", cable)
    for machine, address in ((gateway, "192.0.2.1/24"), (here, "192.0.2.2/24")):
        machine.run("ip", "address", "add", address, "dev", "lan")
        machine.run("ip", "link", "set", "lan", "up")
        machine.run("swanctl", "--load-all", "--noprompt")
    script = tmp_path / "deploy-strongswan"
    script.write_text(Page(PAGE, {}, section="strongSwan").file("sh"))
    script.chmod(0o755)
    hook = " ".join((*here.inside, str(script)))

    def deploy():
        """Run the hook, which changes nothing for who is connected; then connect anew."""
        before = established(here)
        assert ": deployed" in scep("agent", "--once", "root", "--deploy-hook", hook)
        current = read_certificate(device / "cert.pem").der
        assert certificates(here) == [current]
        assert established(here) == before
        assert current not in certificates(gateway)
        if before:
            here.run("swanctl", "--terminate", "--ike", "vpn")
        here.run("swanctl", "--initiate", "--ike", "vpn")
        assert current in certificates(gateway)
        assert len(established(here)) == 1

    deploy()
    for options in ((), ("--same-key",)):
        scep("renew", "root/www", "--force", *options)
        deploy()
    assert here.charon.poll() is None


HOSTAPD = """
interface=lan
driver=wired
ieee8021x=1
use_pae_group_addr=1
eap_server=1
eap_user_file={here}/users
ca_cert={here}/server/ca.pem
server_cert={here}/server/cert.pem
private_key={here}/server/key.pem
"""


def test_wpa_supplicant(scep, device, start, tmp_path):
    """The one who lets into the network sees the new certificate."""
    require("hostapd", "wpa_supplicant", "wpa_cli")
    # The server's certificate stays what it is.
    shutil.copytree(device, tmp_path / "server")
    (tmp_path / "users").write_text("* TLS\n")
    (tmp_path / "hostapd.conf").write_text(HOSTAPD.format(here=tmp_path))
    page = Page(PAGE, {"/etc/scep/net": device}, section="wpa_supplicant")
    conf = str(tmp_path / "wpa.conf")
    Path(conf).write_text(page.file("text"))
    cable = "ip link add lan type veth peer name eth0"
    here = Island(start, tmp_path, f"{cable}; ip link set lan up; ip link set eth0 up")
    log = tmp_path / "hostapd.log"
    hostapd = here.start("hostapd", "-d", "-f", str(log), str(tmp_path / "hostapd.conf"))

    def up():
        assert hostapd.poll() is None, log.read_text()
        return log.exists() and "AP-ENABLED" in log.read_text()

    wait_until(up, "hostapd")
    supplicant = here.start("wpa_supplicant", "-D", "wired", "-i", "eth0", "-c", conf)

    def let_in():
        """Return the serial numbers of who was let in, in the order of their coming."""
        said = log.read_text(errors="replace")
        shown = r"peer certificate: depth=0 serial_num=([0-9A-F]+) "
        found = re.findall(f"{shown}|CTRL-EVENT-EAP-(SUCCESS) ", said)
        pairs = itertools.pairwise(found)
        return [int(serial, 16) for (serial, _), (_, success) in pairs if serial and success]

    def current():
        pem = (device / "cert.pem").read_bytes()
        return x509.load_pem_x509_certificate(pem).serial_number

    first = current()
    wait_until(lambda: let_in() == [first], "the first certificate")
    scep("renew", "--all", "root", "--force")
    second = current()
    assert second != first
    hook = tomllib.loads(page.file("toml"))["deploy_hook"]
    said = scep("agent", "--once", "root", "--deploy-hook", " ".join((*here.inside, hook)))
    assert ": deployed" in said
    wait_until(lambda: let_in() == [first, second], "the second certificate")
    wait_until(lambda: "Authorized" in here.run("wpa_cli", "-i", "eth0", "status"), "the port")
    assert supplicant.poll() is None
