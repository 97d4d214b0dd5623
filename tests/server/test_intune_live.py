"""`scep serve` asks Intune, and is killed between any two calls."""

from __future__ import annotations

import contextlib
import http.client
import random
import threading
import time
from base64 import b64encode
from urllib.parse import quote

import pytest

import forge
import keys
from enrolment import devices
from scepkit.protocol import csr
from scepkit.protocol.algorithms import NO_LEGACY
from scepkit.protocol.certificate import Certificate
from scepkit.protocol.scep.messages import PKCSReq, Success
from scepkit.store import Status, Store
from server.intune import Running
from waiting import wait_until

PATH = "/scep/laptops"
# The tags of UTF8String, PrintableString, TeletexString, IA5String, UniversalString and BMPString.
STRINGS = [
    *((tag, "ascii") for tag in (0x0C, 0x13, 0x14, 0x16)),
    (0x1C, "utf-32-be"),
    (0x1E, "utf-16-be"),
]
SETTINGS = """
[intune.corp]
tenant = "{tenant}"
client_id = "{client_id}"
secret_file = "intune.secret"
authority_url = "{url}/login"
graph_url = "{url}/graph"
resource_url = "{url}/resource/"
seconds = 60

[endpoint.laptops]
profile = "windows-device"
preset = "intune"

[[endpoint.laptops.authorization]]
kind = "intune"
registration = "corp"
"""


class Site:
    """A data directory whose endpoint `laptops` asks the stand-in."""

    def __init__(self, path, intune, serve):
        self.path, self.intune, self._serve = path, intune, serve
        it = intune.it
        with (path / "scep.toml").open("a") as file:
            how = {"url": it.url, "tenant": it.tenant, "client_id": it.client_id}
            file.write(SETTINGS.format(**how))
        secret = path / "intune.secret"
        secret.write_text(it.secret)
        secret.chmod(0o600)

    def start(self):
        self.server = self._serve(self.path)
        self.ra = self.server.ra_at(PATH)
        return self.server

    def request(self, which="device", **how):
        challenge = self.intune.it.challenge({"subject": "CN=device"})
        signer = keys.device(which)
        return devices.pkcs_req(challenge, to=self.ra, signer=signer, **how)

    def post(self, message):
        return self.server.post(message, PATH)

    def enrol(self, message):
        """Send a message until it is answered; return the certificate."""
        answer = wait_until(lambda: self._answered(message), "an answer")
        return self.server.read(answer, ra=self.ra).certificate

    def _answered(self, message):
        answer = self.post(message)
        return answer if answer.status == 200 else None

    def in_the_background(self, message):
        def post():
            with contextlib.suppress(OSError, http.client.HTTPException):
                self.post(message)

        thread = threading.Thread(target=post)
        thread.start()
        return thread

    def was_asked(self, operation, times=1):
        wait_until(lambda: len(self.intune.asked(operation)) >= times, operation)

    def told(self):
        return [one["operation"] for one in self.intune.asked("validate", "success", "failure")]

    def stands(self):
        with Store.open(f"sqlite:///{self.path / 'scep.db'}") as store:
            rows, issued = store.requests(status=None), store.certificates()
            return [one.status for one in rows], {one.der: one.revoked_at for one in issued}


@pytest.fixture
def site(directory, serve):
    with Running() as intune:
        yield Site(directory(), intune, serve)


@pytest.mark.parametrize(
    ("operation", "stands", "calls"),
    [
        ("validate", [], ["validate", "validate", "success"]),
        ("success", [Status.SIGNED], ["validate", "success", "success"]),
    ],
)
def test_after_a_kill_the_same_request_goes_on_where_it_stopped(site, operation, stands, calls):
    site.start()
    site.intune.fault(operation, "hang")
    message = site.request()
    thread = site.in_the_background(message)
    site.was_asked(operation)
    site.server.kill()
    thread.join()
    assert site.stands()[0] == stands
    site.start()
    certificate = site.enrol(message)
    assert site.told() == calls
    assert site.stands() == ([Status.ISSUED], {certificate: None})
    assert site.enrol(message) == certificate
    found = Certificate.read(certificate)
    (success, *_) = site.intune.asked("success")[-1:]
    assert success["body"]["notification"]["certificateSerialNumber"] == f"{found.serial:X}"
    assert success["body"]["notification"]["caConfiguration"] == "laptops"


def test_an_ordinary_endpoint_beside_does_not_notice(site, challenges):
    site.start()
    site.intune.fault("validate", "hang")
    thread = site.in_the_background(site.request())
    site.was_asked("validate")
    (secret,) = challenges(site.path)
    assert isinstance(site.server.enrol(secret).rep, Success)
    site.server.kill()
    thread.join()


def test_challenges_of_eight_thousand_characters(site):
    """In whatever type of string, by POST and by GET: 65535 octets of a URL are enough."""
    site.start()
    for number, (tag, encoding) in enumerate(STRINGS):
        for method in ("POST", "GET"):
            secret = site.intune.it.challenge({"subject": "CN=device", "padding": "x" * 6000})
            assert len(secret) > 8000
            value = forge.tlv(tag, secret.encode(encoding))
            message = devices.seal(
                PKCSReq(csr.read(forge.csr(attributes=[forge.challenge(value)]), NO_LEGACY)),
                to=site.ra,
                transaction_id=f"{method} {number}",
            )
            if method == "POST":
                answer = site.post(message)
            else:
                text = quote(b64encode(message), safe="")
                answer = site.server.ask(f"{PATH}?operation=PKIOperation&message={text}")
            assert site.server.read(answer, ra=site.ra).certificate
    assert site.told() == ["validate", "success"] * 2 * len(STRINGS)


@pytest.mark.long
def test_kills_at_any_moment_lose_no_certificate_and_make_no_second_one(site):
    """What a device was given is stored and not revoked; one validation is one certificate."""
    site.start()
    rng, given = random.Random(19), {}
    for number in range(30):
        message = site.request(transaction_id=f"{number}")
        thread = site.in_the_background(message)
        time.sleep(rng.uniform(0, 0.3))
        site.server.kill()
        thread.join()
        site.start()
        given[number] = site.enrol(message)
    states, stored = site.stands()
    assert states == [Status.ISSUED] * len(given)
    assert stored == dict.fromkeys(given.values())
