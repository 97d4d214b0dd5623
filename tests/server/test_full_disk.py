"""Database and log on one full disk: whatever has to be stored is refused for now, and no more."""

from __future__ import annotations

import re
import resource
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography import x509

from enrolment import devices
from ocsp import asking
from server.live import Server
from waiting import wait_until

# The disk is made where nobody else sees it: a file system in memory, in a namespace of its own.
MOUNT = (
    'mount -t tmpfs -o size=16m,mode=0700 scep "$1" && cp -a "$2" "$1/data" && disk=$1 && shift 2 '
    '&& exec "$@" 2>"$disk/log"'
)


class Limited:
    """A server that may write no file any more, as good as a full disk to it."""

    def __init__(self, serve, made, _place):
        self.server = serve(made)

    def fill(self):
        _, self._hard = resource.prlimit(self.server.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(self.server.pid, resource.RLIMIT_FSIZE, (0, self._hard))

    def free(self):
        unlimited = (self._hard, self._hard)
        resource.prlimit(self.server.pid, resource.RLIMIT_FSIZE, unlimited)


class Mounted:
    """A server whose directory and log are on a small disk of their own."""

    def __init__(self, serve, made, place):
        place.mkdir()
        within = ["unshare", "-Urm", "sh", "-c", MOUNT, "sh", str(place), str(made)]
        tried = [*within[:-4], "mount -t tmpfs scep " + str(place)]
        if subprocess.run(tried, capture_output=True, check=False).returncode:
            pytest.skip("this user may not mount a disk in a namespace of its own")
        self.server: Server = serve(place / "data", within=within)
        # As the server sees it; nobody else does.
        seen = Path(f"/proc/{self.server.pid}/root") / place.relative_to("/")
        self.server.log_path = seen / "log"
        self._filler = seen / "filler"

    def fill(self):
        with self._filler.open("wb", buffering=0) as filler:
            for size in (1 << 16, 1):
                try:
                    while True:
                        filler.write(b"x" * size)
                except OSError:
                    pass

    def free(self):
        self._filler.unlink()


@pytest.mark.parametrize("kind", [Limited, Mounted])
def test_database_and_log_on_one_full_disk(directory, serve, challenges, scep, tmp_path, kind):
    """503 for each request that would be stored; and each succeeds when it is sent again."""
    path = directory()
    first, *secrets = challenges(path, 9)
    disk = kind(serve, path, tmp_path / "disk")
    server = disk.server
    out = tmp_path / "dev1"
    enrolled = scep(
        *("enroll", server.url, "--subject", "CN=dev1", "--out", out, "--key", "ec:p256"),
        *("--fingerprint", server.fingerprint, "--challenge", first),
    )
    assert enrolled[0] == 0, enrolled
    stored, *messages = (
        devices.pkcs_req(secret, to=server.ra, transaction_id=str(number), subject=f"CN={number}")
        for number, secret in enumerate(secrets)
    )
    issued = server.read(server.post(stored)).certificate
    ca = x509.load_pem_x509_certificate((path / "ca.pem").read_bytes())
    certificate = x509.load_pem_x509_certificate((out / "cert.pem").read_bytes())
    disk.fill()
    with ThreadPoolExecutor(4) as pool:
        answers = [*pool.map(server.post, messages)]
    assert [(one.status, one.body) for one in answers] == [(503, b"try again later\n")] * 7
    assert all(int(one.headers["retry-after"]) > 0 for one in answers)
    # What was stored before, and what needs no storing, is answered as ever.
    assert server.read(server.post(stored)).certificate == issued
    assert server.ask("/scep?operation=GetCACert").status == 200
    asked = server.ask("/ocsp/default", "POST", asking.library(certificate, ca))
    assert asking.verified(asked.body, ca).certificate_status.name == "GOOD"
    # CMP has words of its own for it.
    status, _, err = scep("revoke", out, "--reason", "keyCompromise")
    assert (status, "systemUnavail" in err) == (1, True), err
    wait_until(lambda: server.ask("/healthz").text == '{"status":"failing"}', "a fault")
    metrics = server.ask("/metrics").text
    lost = re.search(r"^scep_log_lines_lost_total (\S+)$", metrics, re.MULTILINE)
    assert float(lost[1]) >= len(messages)
    disk.free()
    with ThreadPoolExecutor(4) as pool:
        replies = [server.read(one).certificate for one in pool.map(server.post, messages)]
    assert None not in replies
    assert len({issued, *replies}) == 8
    status, _, err = scep("revoke", out, "--reason", "keyCompromise")
    assert status == 0, err
    asked = server.ask("/ocsp/default", "POST", asking.library(certificate, ca))
    assert asking.verified(asked.body, ca).certificate_status.name == "REVOKED"
    wait_until(lambda: server.ask("/healthz").text == '{"status":"ok"}', "health")
    assert "Traceback" not in server.log
    assert server.stop() == 0
