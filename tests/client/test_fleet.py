"""A fleet that enrols: each device, whatever the server, the disk or a signal do to it."""

from __future__ import annotations

import csv
import itertools
import signal
import threading
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509 import ObjectIdentifier

import httpd
import keys
from pair import grant
from scepkit import (
    BadRequest,
    DeviceList,
    FleetEnroller,
    FleetOptions,
    FleetServer,
    Folder,
    Pending,
    SettingsError,
    TransportError,
    UntrustedCA,
    UsageError,
    by_fingerprint,
    fleet_events,
)
from scepkit.client import keys as client_keys
from scepkit.client.fleet import availability, enroller
from scepkit.client.fleet.bundles import Bundles
from scepkit.client.fleet.results import ResultFile, State, read_results
from scepkit.protocol.asn1 import der
from scepkit.protocol.certificate_template import named_template
from scepkit.protocol.scep.http import HTTPResponse, Operation
from waiting import PATIENCE

BUSY = HTTPResponse(503, b"busy", "text/plain", {"retry-after": "0"})


def by_name(*, refuses=(), waits=()):
    """Return a policy: some are refused, some wait, and the others are granted."""

    def decide(server, request, sender):
        wanted = server.wanted[sender.attributes.transaction_id]
        name = str(wanted.subject).removeprefix("CN=")
        if name in refuses:
            raise BadRequest(f"{name} is not welcome")
        return Pending() if name in waits else grant(server, request, sender)

    return decide


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    """Keys that were made once, each for a device of its own, and short pauses."""
    made = itertools.count()
    monkeypatch.setattr(
        client_keys, "generate_key", lambda _kind: keys.rsa_key(f"fleet-{next(made) % 12}")
    )
    monkeypatch.setattr(availability, "_FIRST", 0.01)
    monkeypatch.setattr(availability, "_MOST", 0.02)


@pytest.fixture
def told():
    """Every event."""
    return []


@pytest.fixture
def fleet(tmp_path, told):
    """Return a fleet at a site, whose directory is `fleet`."""

    def fleet(site, names, *, trust=None, tell=told.append, rows=(), **how):
        text = ["name,subject,challenge,url", *(f"{n},CN={n},," for n in names), *rows]
        path = tmp_path / "devices.csv"
        path.write_text("\n".join(text) + "\n")
        own = {name: how.pop(name) for name in ("challenge",) if name in how}
        return FleetEnroller(
            DeviceList(path),
            tmp_path / "fleet",
            FleetServer(site.url, trust or by_fingerprint(site.fingerprint)),
            options=FleetOptions(**how),
            tell=tell,
            **own,
        )

    return fleet


def states(directory):
    return {name: one.state.value for name, one in read_results(directory).items()}


def kinds(told):
    return [type(one).__name__ for one in told]


def test_each_device_has_a_directory_a_pkcs12_and_a_row(serve, fleet, tmp_path, told):
    names = ["dev1", "dev2", "Gerät/3  b"]
    report = fleet(serve(grant), names).run()
    assert report.counts == {State.DONE: 3}
    results = read_results(tmp_path / "fleet")
    with (tmp_path / "fleet/passwords.csv").open() as file:
        passwords = {row["name"]: row["password"] for row in csv.DictReader(file)}
    assert set(results) == set(passwords) == set(names)
    for device in DeviceList(tmp_path / "devices.csv"):
        folder = Folder(tmp_path / "fleet/devices" / device.file_name)
        certificate = folder.require_certificate()
        result = results[device.name]
        assert int(result.serial, 16) == certificate.serial
        assert result.until == certificate.not_after
        assert result.transaction_id == folder.record().transaction_id
        path = tmp_path / "fleet/pkcs12" / f"{device.file_name}.p12"
        bundle = pkcs12.load_pkcs12(path.read_bytes(), passwords[device.name].encode())
        assert client_keys.spki(bundle.key) == certificate.canonical_spki
        assert [bundle.cert.certificate.serial_number, len(bundle.additional_certs)] == [
            certificate.serial,
            1,
        ]
        assert bundle.cert.friendly_name.decode() == device.name
        assert path.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "fleet/passwords.csv").stat().st_mode & 0o777 == 0o600
    assert len(set(passwords.values())) == 3
    assert report.plan.devices == 3
    other = serve(grant)
    assert fleet(other, names, tell=fleet_events.ignore).run().counts == {State.DONE: 3}
    assert not other.asked(Operation.PKI_OPERATION)
    assert kinds(told) == ["CATrusted", "FleetBegun", *["DeviceEnded"] * 3]


def test_the_ca_is_asked_once_for_all(serve, fleet):
    site = serve(grant)
    fleet(site, [f"dev{n}" for n in range(12)], parallel=4).run()
    assert len(site.asked(Operation.GET_CA_CERT)) == len(site.asked(Operation.GET_CA_CAPS)) == 1


def test_a_second_run_leaves_alone_what_is_done_and_asks_again_for_the_rest(serve, fleet, tmp_path):
    names = ["dev1", "dev2", "dev3"]
    site = serve(by_name(refuses={"dev1"}, waits={"dev2"}))
    report = fleet(site, names).run()
    assert states(tmp_path / "fleet") == {"dev1": "refused", "dev2": "waiting", "dev3": "done"}
    refused, waiting = (read_results(tmp_path / "fleet")[name] for name in names[:2])
    assert (refused.fail_info, refused.serial) == ("badRequest", "")
    assert "dev1 is not welcome" in refused.reason
    assert waiting.transaction_id
    assert report.plan.devices == 3
    before = len(site.asked(Operation.PKI_OPERATION))
    site.scep.decisions[:] = [grant]
    assert fleet(site, names).run().counts == {State.DONE: 3}
    assert len(site.asked(Operation.PKI_OPERATION)) == before + 2
    # What waited is the same request.
    assert read_results(tmp_path / "fleet")["dev2"].transaction_id == waiting.transaction_id
    assert len((tmp_path / "fleet/results.csv").read_text().splitlines()) == 4


@pytest.mark.parametrize("has_row", [True, False])
def test_what_was_installed_is_taken_as_it_is(serve, fleet, tmp_path, has_row):
    site = serve(grant)
    fleet(site, ["dev1"]).run()
    serial = read_results(tmp_path / "fleet")["dev1"].serial
    if not has_row:
        (tmp_path / "fleet/results.csv").unlink()
    (tmp_path / "fleet/pkcs12/dev1.p12").unlink()
    fleet(site, ["dev1"]).run()
    assert read_results(tmp_path / "fleet")["dev1"].serial == serial
    assert len(site.asked(Operation.PKI_OPERATION)) == 1
    with (tmp_path / "fleet/passwords.csv").open() as file:
        (row,) = csv.DictReader(file)
    content = (tmp_path / "fleet/pkcs12/dev1.p12").read_bytes()
    assert pkcs12.load_pkcs12(content, row["password"].encode()).key


def test_a_pkcs12_without_its_password_is_written_anew(serve, fleet, tmp_path):
    site = serve(grant)
    fleet(site, ["dev1"]).run()
    (tmp_path / "fleet/passwords.csv").unlink()
    (tmp_path / "fleet/results.csv").unlink()
    fleet(site, ["dev1"]).run()
    with (tmp_path / "fleet/passwords.csv").open() as file:
        (row,) = csv.DictReader(file)
    content = (tmp_path / "fleet/pkcs12/dev1.p12").read_bytes()
    assert pkcs12.load_pkcs12(content, row["password"].encode()).key


def test_a_mistake_in_the_list_stops_everything_before_the_first_request(
    serve, fleet, tmp_path, told
):
    site = serve(grant)
    with pytest.raises(SettingsError, match="has 2 mistakes; nothing was sent"):
        fleet(site, ["dev1"], rows=["dev2,x,,", "dev1,CN=dev1,,"]).run()
    assert [one.problem.line for one in told] == [3, 4]
    assert not site.requests


def test_a_server_that_is_busy_is_waited_for_by_all(serve, fleet, told):
    site = serve(grant)
    site.next(Operation.GET_CA_CERT, BUSY, BUSY)
    site.next(Operation.PKI_OPERATION, *[BUSY] * 9)
    report = fleet(site, [f"dev{n}" for n in range(6)], parallel=3).run()
    assert report.counts == {State.DONE: 6}
    assert "ServerAway" in kinds(told)
    assert "ServerBack" in kinds(told)
    # Nobody fails, and no device is asked for twice as often as it has to be.
    assert len(site.asked(Operation.PKI_OPERATION)) == 6 + 9


def test_a_server_too_busy_for_its_capabilities_is_asked_when_it_says(serve, fleet, told):
    """GetCACert is answered, and GetCACaps is not."""
    site = serve(grant)
    busy = HTTPResponse(503, b"busy", headers={"Retry-After": "1"})
    site.next(Operation.GET_CA_CAPS, busy)
    assert fleet(site, ["dev1", "dev2"]).run().counts == {State.DONE: 2}
    (away,) = [one for one in told if isinstance(one, fleet_events.ServerAway)]
    assert away.seconds >= 1


def test_a_server_that_closes_connections_is_waited_for(serve, fleet):
    site = serve(grant)
    site.next(Operation.PKI_OPERATION, *[httpd.DROP] * 5)
    assert fleet(site, ["dev1", "dev2"]).run().counts == {State.DONE: 2}


def test_who_was_not_asked_is_not_back(serve, fleet, told):
    """Devices whose challenge cannot be had end, and the server is away all the while."""
    site, away = serve(grant), threading.Event()
    site.next(Operation.PKI_OPERATION, *[BUSY] * 50)

    def tell(event):
        told.append(event)
        if isinstance(event, fleet_events.ServerAway):
            away.set()

    def challenge(device):
        if device.name != "dev0":
            assert away.wait(PATIENCE)
            raise SettingsError("no challenge today")

    names = [f"dev{n}" for n in range(4)]
    report = fleet(site, names, parallel=2, tell=tell, challenge=challenge).run()
    assert report.counts == {State.DONE: 1, State.FAILED: 3}
    assert kinds(told).count("ServerBack") == 1


def test_patience_ends(serve, fleet, tmp_path):
    site = serve(grant)
    site.next(Operation.PKI_OPERATION, *[BUSY] * 1000)
    with pytest.raises(TransportError, match="HTTP 503"):
        fleet(site, ["dev1", "dev2"], patience=0.1).run()
    assert states(tmp_path / "fleet") == {}
    # The keys are there, and the next run goes on with them.
    assert (tmp_path / "fleet/devices/dev1/key.pem.new").exists()


def test_one_device_that_the_server_never_answers_does_not_stop_the_others(serve, fleet, tmp_path):
    dead, site = serve(grant), serve(grant)
    dead.next(Operation.GET_CA_CERT, *[BUSY] * 10_000)
    names = [f"dev{n}" for n in range(40)]
    report = fleet(site, names, rows=[f"odd,CN=odd,,{dead.url}"], parallel=2, patience=20).run
    # The odd one is the last of the list, so there have to be others beside it.
    path = tmp_path / "devices.csv"
    heading, *rows = path.read_text().splitlines()
    path.write_text("\n".join([heading, rows[-1], *rows[:-1]]) + "\n")
    assert report().counts == {State.DONE: 40, State.FAILED: 1}


def test_it_stops_after_so_many_failures(serve, fleet, tmp_path):
    names = [f"dev{n}" for n in range(10)]
    report = fleet(serve(BadRequest("no")), names, parallel=1, stop_after=3).run()
    assert report.stopped == "3 failed"
    assert report.counts == {State.REFUSED: 3}
    assert len(states(tmp_path / "fleet")) == 3


def test_an_ra_that_was_rotated_meanwhile_is_asked_for(serve, fleet, tmp_path):
    site = serve(grant)
    other = httpd.certify(
        "Other RA",
        keys.rsa_key("other-ra"),
        httpd.ca(),
        key_usage=keys.usage("digital_signature", "key_encipherment"),
    )
    begun = threading.Event()

    def rotate(event):
        if isinstance(event, fleet_events.DeviceEnded) and not begun.is_set():
            begun.set()
            site.scep.ra = other
            site.scep.responder = site.scep._responder()

    report = fleet(site, ["dev1", "dev2", "dev3"], parallel=1, tell=rotate).run()
    assert report.counts == {State.DONE: 3}
    assert len(site.asked(Operation.GET_CA_CERT)) == 2


def test_another_ca_than_the_expected_one_ends_it_before_a_device_begins(serve, fleet, tmp_path):
    site = serve(grant)
    with pytest.raises(UntrustedCA):
        fleet(site, ["dev1"], trust=by_fingerprint("ab" * 32)).run()
    assert not site.asked(Operation.PKI_OPERATION)
    assert not (tmp_path / "fleet/devices/dev1").exists()


def test_two_at_once_on_one_directory(serve, fleet, tmp_path):
    site = serve(grant)
    second = []

    def try_another(event):
        if isinstance(event, fleet_events.FleetBegun):
            with pytest.raises(SettingsError, match="another scep is at work") as raised:
                fleet(site, ["dev1"], tell=fleet_events.ignore).run()
            second.append(raised)

    fleet(site, ["dev1"], tell=try_another).run()
    assert second


def test_a_directory_that_somebody_else_holds_is_one_failure(serve, fleet, tmp_path):
    site = serve(grant)
    (tmp_path / "fleet").mkdir()
    with Folder(tmp_path / "fleet/devices/dev1").locked():
        report = fleet(site, ["dev1", "dev2"]).run()
    assert report.counts == {State.FAILED: 1, State.DONE: 1}
    assert "another scep is at work" in read_results(tmp_path / "fleet")["dev1"].reason


def test_each_device_has_its_own_challenge(serve, fleet, tmp_path):
    seen = {}

    def look(server, request, sender):
        seen[str(request.csr.subject)] = request.csr.challenge_password
        return grant(server, request, sender)

    def challenge(device):
        if device.name == "dev3":
            raise SettingsError("the program printed none")
        return device.challenge or "of all"

    site = serve(look)
    rows = ["dev1,CN=dev1,of dev1,", "dev2,CN=dev2,,", "dev3,CN=dev3,,"]
    fleet(site, [], rows=rows, challenge=challenge).run()
    assert seen == {"CN=dev1": "of dev1", "CN=dev2": "of all"}
    assert read_results(tmp_path / "fleet")["dev3"].reason == "the program printed none"


def test_an_interruption_ends_with_the_requests_under_way(
    serve, fleet, tmp_path, told, monkeypatch
):
    joined, waited = enroller._wait, []

    def interrupted(threads):
        waited.append(threads)
        if len(waited) == 1:
            raise KeyboardInterrupt
        joined(threads)

    monkeypatch.setattr(enroller, "_wait", interrupted)
    site = serve(grant)
    names = [f"dev{n}" for n in range(30)]
    with pytest.raises(KeyboardInterrupt):
        fleet(site, names, parallel=2).run()
    assert "Stopping" in kinds(told)
    done = states(tmp_path / "fleet")
    assert len(done) < 30
    monkeypatch.undo()
    assert fleet(site, names).run().counts == {State.DONE: 30}
    # None was asked for twice.
    assert len(site.asked(Operation.PKI_OPERATION)) == 30


def test_ctrl_c_waits_for_whoever_it_finds_at_work(serve, fleet, tmp_path):
    """Each thread, also the one that is waited for when the signal comes."""
    stopping = threading.Event()

    def decide(server, request, sender):
        if not stopping.is_set():
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
            assert stopping.wait(30)
        return grant(server, request, sender)

    def tell(event):
        if isinstance(event, fleet_events.Stopping):
            stopping.set()

    with pytest.raises(KeyboardInterrupt):
        fleet(serve(decide), ["dev1", "dev2"], tell=tell, parallel=1).run()
    assert states(tmp_path / "fleet") == {"dev1": "done"}


@pytest.mark.parametrize("torn", ["dev2,do", 'dev2,failed,,,,,"half', "d"])
def test_half_a_row_is_cut_off(tmp_path, torn):
    results = ResultFile(tmp_path)
    results.add(enroller.Result("dev1", State.DONE, "0a"))
    results.close()
    with (tmp_path / "results.csv").open("a") as file:
        file.write(torn)
    assert states(tmp_path) == {"dev1": "done"}
    again = ResultFile(tmp_path)
    again.add(enroller.Result("dev2", State.REFUSED, reason='a "reason",\nwith\x1b[2J'))
    again.close()
    assert states(tmp_path) == {"dev1": "done", "dev2": "refused"}
    assert read_results(tmp_path)["dev2"].reason == 'a "reason", with [2J'


def test_of_a_long_reason_the_beginning_is_kept(tmp_path):
    """A field that no reader of CSV takes would be the end of the whole file."""
    results = ResultFile(tmp_path)
    results.add(enroller.Result("dev1", State.FAILED, reason="x" * 200_000))
    results.close()
    ResultFile(tmp_path).close()
    (found,) = read_results(tmp_path).values()
    assert set(found.reason) == {"x"}


def test_a_password_that_was_half_written_is_no_password(tmp_path):
    one = Bundles(tmp_path)
    first = one._password("dev1")
    one.close()
    path = tmp_path / "passwords.csv"
    # Longer than the row that comes in its place.
    path.write_text(path.read_text() + "dev2," + 99 * "a")
    again = Bundles(tmp_path)
    passwords = [again._password(name) for name in ("dev1", "dev2")]
    again.close()
    assert path.read_text().splitlines()[1:] == [f"dev1,{first}", f"dev2,{passwords[1]}"]
    assert passwords[0] == first
    assert len(passwords[1]) == len(first)
    last = Bundles(tmp_path)
    assert [last._password(name) for name in ("dev1", "dev2")] == passwords


def test_passwords_that_others_may_read_are_refused(tmp_path):
    one = Bundles(tmp_path)
    one._password("dev1")
    one.close()
    (tmp_path / "passwords.csv").chmod(0o644)
    with pytest.raises(SettingsError, match="others may read"):
        Bundles(tmp_path)


@pytest.mark.parametrize("how", [{"parallel": 0}, {"parallel": 1000}, {"key": "rsa:1"}])
def test_options_that_cannot_be_meant(how):
    with pytest.raises(UsageError):
        replace(FleetOptions(), **how)


def test_a_template_is_asked_for_and_old_importers_are_served(serve, fleet, tmp_path):
    site = serve(grant)
    fleet(site, ["dev1"], template="WebServer", pkcs12_legacy=True).run()
    (asked,) = site.scep.wanted.values()
    assert named_template(asked.extensions) == "WebServer"
    assert Folder(tmp_path / "fleet/devices/dev1").record().template == "WebServer"
    content = (tmp_path / "fleet/pkcs12/dev1.p12").read_bytes()
    assert der.oid(ObjectIdentifier("1.2.840.113549.1.12.1.3")) in content  # 3-KeyTripleDES-CBC
    assert der.oid(ObjectIdentifier("1.2.840.113549.1.5.13")) not in content  # PBES2


def test_a_template_that_is_none(serve, fleet):
    with pytest.raises(UsageError):
        fleet(serve(grant), ["dev1"], template="1.2.3:99999999999")
