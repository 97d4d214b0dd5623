"""docs/how-to/running.md as it stands, top to bottom, on a machine of its own with a real systemd.

Nothing but the proxy's ports answers from outside; the sandbox of the unit is in force.
"""

from __future__ import annotations

import json
import re
import shutil
from http import HTTPStatus
from pathlib import Path

import pytest

import postgresql
from interop.machine import ADDRESS, Machine
from interop.pages import Page
from interop.programs import do_without, require, run
from interop.serving import SCEP
from waiting import wait_until

pytestmark = [pytest.mark.interop, pytest.mark.long]

PAGE = Page(Path(__file__).parents[2] / "docs/how-to/running.md", {})
UNIT = PAGE.under("As a service", "ini")[0]
PORT_80 = PAGE.under("Without a proxy", "ini")[0]
MAY_BIND_80 = 1 << 10  # CAP_NET_BIND_SERVICE, as the kernel shows it


@pytest.mark.parametrize("unit", [UNIT, UNIT + PORT_80], ids=["proxy", "port 80"])
def test_the_exposure_of_the_unit(tmp_path, unit):
    """systemd's own judge: at most 3.0."""
    (analyse,) = require("systemd-analyze")
    (tmp_path / "scep.service").write_text(unit)
    done = run(
        *(analyse, "security", "--offline=true", "--no-pager", "--threshold=30"),
        tmp_path / "scep.service",
        cwd=tmp_path,
    )
    assert done.status == 0, done.text
    assert "Overall exposure level" in done.out
    assert "Unknown" not in done.err, done.err


@pytest.fixture(scope="module")
def machine(tmp_path_factory):
    """A machine before the page is read, with a certificate for nginx."""
    for program in ("nginx", "sqlite3", "curl", "openssl"):
        require(program)
    if not Path("/lib/systemd/system/nginx.service").exists():
        do_without("not installed: Debian's nginx")
    with Machine(tmp_path_factory.mktemp("machine")) as machine:
        machine.challenges = []
        if not machine.has("sudo"):
            # -u USER COMMAND is all that the page has of it.
            program = '#!/bin/sh\nuser=$2\nshift 2\nexec runuser -u "$user" -- "$@"\n'
            machine.write("/usr/local/bin/sudo", program, 0o755)
        machine.run(
            "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=pki.example.com -days 1"
            " -addext subjectAltName=DNS:pki.example.com"
            " -keyout /etc/nginx/pki.key -out /etc/nginx/pki.pem"
        )
        shutil.copy(machine.path("/etc/nginx/pki.pem"), machine.directory / "trusted.pem")
        yield machine


def follow(machine, heading):
    """Type all commands of a section, in their order."""
    return [machine.run(commands) for commands in PAGE.under(heading)]


@pytest.fixture(scope="module")
def installed(machine):
    """The page as far as the running service; its Python is there already."""
    _, user = PAGE.under("Install")
    machine.run(user)
    (settings,) = PAGE.under("Settings", "toml")
    machine.write("/var/lib/scep/scep.toml", settings)
    machine.write("/etc/systemd/system/scep.service", UNIT)
    start, listing = PAGE.under("As a service")
    machine.run(start)
    wait_for_health(machine)
    machine.run(listing)
    return machine


@pytest.fixture(scope="module")
def proxied(installed):
    """The page as far as the proxy."""
    (site,) = PAGE.under("Behind a proxy", "nginx")
    installed.write("/etc/nginx/sites-enabled/scep", site)
    load, _ = PAGE.under("Behind a proxy")
    installed.run(load)
    return installed


def wait_for_health(machine):
    """Wait until the server that was started last has looked at itself."""
    (health,) = PAGE.under("Health")
    check = health.replace("curl -s ", "curl -sf ")

    def is_well():
        restarts = machine.run("systemctl show --property NRestarts --value scep").strip()
        assert restarts == "0", machine.run("journalctl --no-pager -u scep -o cat")
        return '"states": []' in machine.tried(check).out

    wait_until(is_well, "the server")


def open_ports(machine):
    """Return which of the ports that programs of the machine listen on answer from outside."""
    listening = machine.run("ss -Htln").splitlines()
    ports = {int(line.split()[3].rpartition(":")[2]) for line in listening}
    assert ports
    return {
        port
        for port in ports
        if machine.tried_outside(f"timeout 5 bash -c '</dev/tcp/{ADDRESS}/{port}'").status == 0
    }, ports


def status(machine, url):
    command = f"curl -s --cacert trusted.pem -o /dev/null -w '%{{http_code}}' {url}"
    return int(machine.outside(command))


def admin(machine, command):
    return machine.run(
        f"sudo -u scep env SCEP_DIR=/var/lib/scep /opt/scepkit/bin/scep admin {command}"
    )


def enrol(machine, url, name):
    """Enrol from outside."""
    if not machine.challenges:
        machine.challenges += admin(machine, "challenge new --count 16").split()
        shutil.copy(machine.path("/var/lib/scep/ca.pem"), machine.directory / "ca.pem")
    program = " ".join(SCEP)
    machine.outside(
        f"SSL_CERT_FILE={machine.directory}/trusted.pem {program} enroll {url} --ca ca.pem"
        f" --subject CN={name} --out {name} --challenge {machine.challenges.pop()}"
    )


def processes(machine):
    """Return the state of all processes of the service, as the kernel shows it."""
    pids = machine.run("cat /sys/fs/cgroup/system.slice/scep.service/cgroup.procs").split()
    texts = [machine.path(f"/proc/{pid}/status").read_text() for pid in pids]
    return [dict(re.findall(r"^(\w+):\s*(.*)$", text, re.MULTILINE)) for text in texts]


# --- the page, in its order -----------------------------------------------------------------------


def test_from_outside_the_proxy_alone_answers(proxied):
    answering, listening = open_ports(proxied)
    assert answering == {80, 443}
    assert {8080, 9108} <= listening


def test_health_and_metrics_stay_inside(proxied):
    """The page's own check, and the address that the page gives to a monitor."""
    _, check = PAGE.under("Behind a proxy")
    assert proxied.outside(check).split() == ["404", "404"]
    for path in ("healthz", "metrics", "scep/../metrics", "scep/%2e%2e/healthz"):
        assert status(proxied, f"--path-as-is http://pki.example.com/{path}") != HTTPStatus.OK
        assert status(proxied, f"--path-as-is https://pki.example.com/{path}") != HTTPStatus.OK
    (health,) = follow(proxied, "Health")
    assert json.loads(health) == {"status": "ok", "states": []}
    (metrics,) = follow(proxied, "Metrics")
    assert "\nscep_crl_number" in metrics


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_device_enrols_through_the_proxy(proxied, scheme):
    """The certificate names its CRL and its OCSP responder, and both answer from outside."""
    enrol(proxied, f"{scheme}://pki.example.com/scep", f"by-{scheme}")
    text = proxied.outside(f"openssl x509 -in by-{scheme}/cert.pem -noout -text")
    crl, ocsp = (re.search(rf"URI:(\S+/{one}\S*)", text)[1] for one in ("crl/", "ocsp/"))
    assert crl.startswith("http://pki.example.com/crl/")
    assert status(proxied, crl) == HTTPStatus.OK
    said = proxied.outside(
        f"openssl ocsp -url {ocsp} -issuer ca.pem -CAfile ca.pem -cert by-{scheme}/cert.pem"
    )
    assert f"by-{scheme}/cert.pem: good" in said
    # The address of the device, not that of the proxy.
    log = proxied.run("journalctl --no-pager -u scep -o cat")
    assert '"peer": "198.51.100.1"' in log


def test_the_sandbox_is_in_force(proxied):
    """systemd leaves out without a word what a machine cannot do; here all of it was there."""
    found = processes(proxied)
    assert found
    for one in found:
        assert one["Seccomp"] == "2"
        assert one["NoNewPrivs"] == "1"
        assert int(one["CapBnd"], 16) == int(one["CapEff"], 16) == 0
        assert one["Uid"].split()[0] == proxied.run("id -u scep").strip()
    pid = found[0]["Pid"]
    mounts = proxied.path(f"/proc/{pid}/mounts").read_text()
    roots = [line.split()[3] for line in mounts.splitlines() if line.split()[1] == "/"]
    assert [one.split(",")[0] for one in roots] == ["ro"]


def test_workers_in_the_sandbox(proxied):
    """Processes that share memory, semaphores and a write-ahead log."""
    with_workers(proxied, 2)
    try:
        enrol(proxied, "http://pki.example.com/scep", "by-workers")
        assert proxied.path("/var/lib/scep/scep.db-wal").exists()
        assert len(processes(proxied)) > 2
        proxied.run("systemctl stop scep")
        assert "success" in proxied.run("systemctl show -p Result scep")
    finally:
        with_workers(proxied, 1)


def with_workers(machine, count):
    (settings,) = PAGE.under("Settings", "toml")
    machine.write("/var/lib/scep/scep.toml", f"{settings}workers = {count}\n")
    machine.run("systemctl restart scep")
    wait_for_health(machine)


def test_backup_and_restore(proxied):
    """A certificate of before the backup is there again, and the server goes on."""
    enrol(proxied, "http://pki.example.com/scep", "kept")
    (script,) = PAGE.under("Backup", "sh")
    proxied.write("/usr/local/bin/scep-backup", script, 0o755)
    follow(proxied, "Backup")
    enrol(proxied, "http://pki.example.com/scep", "forgotten")
    proxied.run("systemctl stop scep")
    proxied.run("rm /var/lib/scep/ca-key.pem /var/lib/scep/scep.db")
    follow(proxied, "Restore")
    # What was made since the backup, such as keys, is not overwritten.
    assert proxied.path("/var/lib/scep.before/challenge.key").exists()
    proxied.run("systemctl start scep")
    wait_for_health(proxied)
    subjects = [json.loads(line)["subject"] for line in admin(proxied, "list --json").splitlines()]
    assert "CN=kept" in subjects
    assert "CN=forgotten" not in subjects
    enrol(proxied, "http://pki.example.com/scep", "after")


def test_without_a_proxy(proxied):
    """The server at port 80, with that right and no other, and metrics still on the machine."""
    proxied.run("systemctl stop nginx")
    before = proxied.path("/var/lib/scep/scep.toml").read_text()
    (settings,) = PAGE.under("Without a proxy", "toml")
    proxied.write("/var/lib/scep/scep.toml", settings)
    proxied.write("/etc/systemd/system/scep.service.d/port-80.conf", PORT_80)
    follow(proxied, "Without a proxy")
    try:
        wait_for_health(proxied)
        assert open_ports(proxied)[0] == {80}
        enrol(proxied, "http://pki.example.com/scep", "by-itself")
        assert status(proxied, "http://pki.example.com/metrics") == HTTPStatus.NOT_FOUND
        said = proxied.outside("curl -s http://pki.example.com/healthz")
        assert json.loads(said) == {"status": "ok"}
        for one in processes(proxied):
            assert int(one["CapBnd"], 16) == int(one["CapEff"], 16) == MAY_BIND_80
    finally:
        proxied.run("rm -r /etc/systemd/system/scep.service.d")
        proxied.write("/var/lib/scep/scep.toml", before)
        proxied.run("systemctl daemon-reload && systemctl restart scep && systemctl start nginx")
        wait_for_health(proxied)


def test_postgresql_by_its_socket(proxied):
    """The sandbox leaves the socket of a database on the same machine open."""
    place = postgresql.programs()
    by = f"runuser -u {postgresql.USER} -- env PATH={place}:$PATH"
    proxied.run(f"install -d -o {postgresql.USER} /run/postgresql /tmp/cluster")
    proxied.run(f"{by} initdb -D /tmp/cluster -A peer -N >/dev/null")
    proxied.run(f"{by} pg_ctl -D /tmp/cluster -w -l /tmp/cluster/log start -o '-h \"\"'")
    proxied.run("systemctl stop scep && mv /var/lib/scep /var/lib/scep-sqlite")
    proxied.challenges.clear()
    try:
        (_, tables) = PAGE.under("PostgreSQL")
        for command in tables.splitlines():
            proxied.run(f"{by} {command} -h /run/postgresql")
        proxied.run(PAGE.under("Install")[1].splitlines()[1])
        (settings,) = PAGE.under("Settings", "toml")
        database = 'database = "postgresql:///scep"\n'
        assert database.split(" = ")[1].strip().strip('"') in PAGE.text
        proxied.write("/var/lib/scep/scep.toml", database + settings)
        proxied.run("systemctl start scep")
        wait_for_health(proxied)
        enrol(proxied, "http://pki.example.com/scep", "by-postgresql")
        assert not proxied.path("/var/lib/scep/scep.db").exists()
    finally:
        proxied.run("systemctl stop scep")
        proxied.run(f"{by} pg_ctl -D /tmp/cluster -m immediate stop")
        proxied.run("rm -rf /var/lib/scep /tmp/cluster && mv /var/lib/scep-sqlite /var/lib/scep")
        proxied.run("systemctl start scep")
        proxied.challenges.clear()
        wait_for_health(proxied)
