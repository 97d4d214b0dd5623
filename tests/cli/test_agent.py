"""`scep agent --once`, `scep status --all` and `scep renew --all`, as they are typed."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import httpd
import keys
from pair import grant
from scepkit.cli.device import agent_units
from scepkit.client import clock
from scepkit.client.agent import places
from scepkit.errors import BadRequest
from scepkit.keys import pem
from scepkit.keys.passphrase import Passphrase
from scepkit.protocol.scep.messages import Pending

DONE, FAILED, USAGE, WAITS = 0, 1, 2, 3


@pytest.fixture
def days(monkeypatch):
    """Let days pass, for the device and for the server."""
    passed = [timedelta()]

    def now():
        return datetime.now(UTC) + passed[0]

    monkeypatch.setattr(clock, "now", now)
    monkeypatch.setattr(httpd, "today", lambda: now().replace(microsecond=0))

    def days(count):
        passed[0] += timedelta(days=count)

    return days


@pytest.fixture
def enroll(scep):
    def enroll(site, *names):
        for name in names:
            base = ["--subject", f"CN={name}", "--out", f"root/{name}"]
            status, _, err = scep("enroll", site.url, *base, "--fingerprint", site.fingerprint)
            assert status == DONE, err

    return enroll


@pytest.fixture
def usual(serve, enroll):
    """Two devices below `root`, and a server that grants."""
    site = serve(*[grant] * 20)
    enroll(site, "a", "b")
    return site


def test_nothing_to_do_yet(usual, scep):
    status, out, err = scep("agent", "--once", "root")
    assert (status, out, err) == (DONE, "", "2 directories: 2 valid\n")


def test_what_is_due_is_renewed_and_deployed(usual, scep, days):
    days(22)
    status, _, err = scep("agent", "--once", "root", "--deploy-hook", "touch deployed")
    assert status == DONE
    assert err.count("got the certificate") == 2
    assert err.count(": deployed\n") == 2
    assert Path("deployed").exists()
    assert err.endswith("2 directories: 2 valid\n")


def test_for_programs(usual, scep, days):
    scep("agent", "--once", "root", "--deploy-hook", "false")
    status, out, _ = scep("agent", "--once", "root", "--deploy-hook", "false", "--json")
    assert status == FAILED
    one, other = json.loads(out)["directories"]
    assert (one["directory"], other["directory"]) == ("root/a", "root/b")
    assert one["state"] == "renewed, not deployed"
    assert one["hook"]["failures"] == 1
    assert one["hook"]["exit_status"] == 1
    assert one["next"] == "run the hook"
    assert one["subject"] == "CN=a"


def test_one_waits(serve, enroll, scep, days):
    site = serve(grant, grant, Pending(), grant)
    enroll(site, "a", "b")
    days(22)
    status, _, err = scep("agent", "--once", "root")
    assert status == WAITS
    assert "root/a: waiting for approval; asking again at " in err
    assert "1 valid, 1 waiting for approval" in err


def test_one_fails(serve, enroll, scep, days):
    site = serve(grant, grant, BadRequest("no"), Pending())
    enroll(site, "a", "b")
    days(22)
    status, _, err = scep("agent", "--once", "root")
    assert status == FAILED
    assert "error: root/a: " in err
    assert "; trying again at " in err
    _, _, err = scep("agent", "--once", "root")
    assert "error" not in err
    assert scep("agent", "--once", "root")[0] == FAILED


OTHER_KEY = "root/a/key.pem is not the key of root/a/cert.pem"
# What is done to a directory, and what would fail months later at its renewal.
UNFIT = {
    "another key": (lambda: shutil.copy("root/b/key.pem", "root/a/key.pem"), OTHER_KEY),
    "no key": (lambda: Path("root/a/key.pem").unlink(), "root/a/key.pem is missing"),
    "no CA": (lambda: Path("root/a/ca.pem").unlink(), "no certificate file root/a/ca.pem"),
    "no record": (lambda: Path("root/a/enrolment.json").unlink(), "root/a is not recorded"),
}


@pytest.mark.parametrize(("change", "said"), UNFIT.values(), ids=UNFIT)
def test_what_a_renewal_would_fail_for_is_said_before_its_time(usual, scep, change, said):
    change()
    for command in ("status --all root --check", "agent --once root", "status --all root --check"):
        status, out, err = scep(*command.split())
        assert (status, said in out + err) == (FAILED, True), out + err
    state = json.loads(scep("status", "root/a", "--json")[1])
    assert (said in state["problem"], state["agent"]) == (True, "failed")
    status, _, err = scep("renew", "root/a")
    assert (status, said in err) == (USAGE, True), err
    assert [one["state"] for one in statuses(scep)] == ["failed", "valid"]


def statuses(scep):
    return json.loads(scep("status", "--all", "root", "--json")[1])["directories"]


def test_what_cannot_be_looked_at_is_no_failure(usual, scep, monkeypatch):
    """A monitor's user cannot read the key, perhaps, and the key may be encrypted."""
    access = os.access
    with monkeypatch.context() as patch:
        patch.setattr(
            os, "access", lambda path, mode: "key.pem" not in str(path) and access(path, mode)
        )
        UNFIT["another key"][0]()
        assert scep("status", "--all", "root", "--check")[0] == DONE
    Path("root/a/key.pem").write_bytes(pem.key_pem(keys.rsa_key("other"), Passphrase("secret")))
    assert scep("status", "--all", "root", "--check")[0] == DONE
    assert scep("agent", "--once", "root")[0] == DONE


def test_nor_is_an_installation_under_way(usual, scep):
    """Key and certificate are renamed one after the other."""
    shutil.copy("root/a/cert.pem", "root/a/cert.pem.new")
    UNFIT["another key"][0]()
    assert scep("status", "--all", "root", "--check")[0] == DONE


def test_a_ca_that_was_lost_is_named_anew(usual, scep):
    Path("root/a/ca.pem").unlink()
    named = ["--fingerprint", usual.fingerprint]
    assert scep("renew", "root/a", *named)[0] == DONE
    assert scep("renew", "root/a", "--force", *named)[0] == DONE
    assert scep("agent", "--once", "root")[0] == DONE


def test_how_far_down_it_looks(scep):
    """As the help and the page say: what is deeper is named by a list, or by a root of its own."""
    deep = Path("root/1/2/3/4/5/6/7")
    for path in (deep / "8", deep / "8/9"):
        path.mkdir(parents=True)
    (deep / "8/9/cert.pem").touch()
    assert list(places.below(Path("root"), print)) == []
    (deep / "8/cert.pem").touch()
    assert list(places.below(Path("root"), print)) == [deep / "8"]
    for command in (["status"], ["renew"], ["agent", "run"], ["agent", "install"]):
        _, out, _ = scep(*command, "--help")
        assert "up to eight levels down" in " ".join(out.split()), command


def test_named_directories_and_a_list(usual, scep, tmp_path):
    Path("list").write_text("# two\nroot/a\n\nroot/a  # again\n" + str(tmp_path / "root/b"))
    assert scep("agent", "--once", "--list", "list")[2] == "2 directories: 2 valid\n"
    assert scep("agent", "--once", "root/a")[2] == "1 directory: 1 valid\n"
    assert scep("agent", "--once", "root/a", "root")[2].startswith("2 directories")


def test_the_usual_root(usual, scep, monkeypatch):
    monkeypatch.setenv(places.VARIABLE, "root")
    assert scep("agent", "--once")[2] == "2 directories: 2 valid\n"
    status, out, _ = scep("status", "--all", "--json")
    assert (status, len(json.loads(out)["directories"])) == (DONE, 2)
    assert scep("renew", "--all")[0] == DONE


def test_links_and_what_waits_for_the_next_ca_are_no_directories(usual, scep):
    Path("root/link").symlink_to("a")
    Path("other").mkdir()
    Path("other/link").symlink_to(Path("root").absolute())
    shutil.copytree("root/a", "root/b/next")
    Path("root/next").mkdir()
    shutil.copytree("root/a", "root/next/c")
    assert scep("agent", "--once", "root")[2].startswith("2 directories")
    assert scep("agent", "--once", "other")[2].startswith("0 directories")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nowhere"], "there is no directory nowhere"),
        (["--list", "nowhere"], "cannot read nowhere"),
        (["--at", "2"], "'2' is not a point"),
        (["--min-interval", "x"], "'x' is not a duration"),
        (["--deploy-hook", "'"], "is not a command"),
        (["--hook-timeout", "-1"], "not a number of seconds"),
    ],
)
def test_what_cannot_be_meant(scep, words, said):
    status, _, err = scep("agent", "--once", *words)
    assert status == USAGE
    assert said in err
    assert scep("agent", "--json", "root")[0] == USAGE


def test_an_expired_one_is_said(serve, enroll, scep, days):
    enroll(serve(grant, *[BadRequest("no")] * 9), "a")
    days(31)
    status, _, err = scep("agent", "--once", "root")
    assert status == FAILED
    assert "1 directory: 1 expired" in err


def hide(monkeypatch, directory):
    """Have the file system refuse a directory, to root, too."""
    look = os.scandir

    def refuse(path):
        if str(path) == directory:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return look(path)

    monkeypatch.setattr(os, "scandir", refuse)


class TestStatus:
    def test_a_table(self, usual, scep):
        scep("agent", "--once", "root", "--deploy-hook", "false")
        status, out, err = scep("status", "--all", "root")
        assert status == FAILED
        heading, one, other = out.splitlines()
        assert heading.split() == [
            "DIRECTORY", "STATE", "EXPIRES", "HOOK", "NEXT", "AT", "SUBJECT",
        ]  # fmt: skip
        assert one.startswith("root/a     renewed, not deployed  ")
        assert "failed (1)  run the hook" in other
        assert err == "2 directories: 2 renewed, not deployed\n"

    def test_where_no_agent_has_looked(self, usual, scep):
        before = sorted(Path("root/a").iterdir())
        status, out, _ = scep("status", "--all", "root")
        assert status == DONE
        assert out.count("valid") == 2
        assert out.count("renew ") == 2
        assert sorted(Path("root/a").iterdir()) == before

    def test_one_directory(self, usual, scep):
        scep("agent", "--once", "root", "--deploy-hook", "false")
        _, out, _ = scep("status", "root/a")
        rows = dict(line.split("  ", 1) for line in out.splitlines())
        assert rows["agent"].strip() == "renewed, not deployed"
        assert "false ended with status 1" in rows["hook"]
        assert rows["next"].strip() == "run the hook"

    def test_the_page_that_says_why_the_server_wants_a_renewal_is_shown(self, usual, scep):
        scep("agent", "--once", "root")
        state = Path("root/a/agent.json")
        said = {**json.loads(state.read_text()), "explanation": "http://ca.example/why"}
        state.write_text(json.dumps(said))
        _, out, _ = scep("status", "root/a")
        assert out.rstrip().endswith("http://ca.example/why")

    @pytest.mark.parametrize("command", ["agent --once", "status --all", "renew --all"])
    def test_what_cannot_be_looked_into_may_hold_anything(self, usual, scep, monkeypatch, command):
        Path("root/hidden").mkdir()
        hide(monkeypatch, "root/hidden")
        status, _, err = scep(*command.split(), "root")
        assert status == FAILED
        assert "cannot look into root/hidden: Permission denied" in err

    def test_nor_does_a_monitor_overlook_it(self, usual, scep, monkeypatch):
        Path("root/hidden").mkdir()
        hide(monkeypatch, "root/hidden")
        status, out, _ = scep("status", "--all", "root", "--check")
        assert (status, out) == (FAILED, "FAILED: cannot look into root/hidden\n")

    def test_no_certificates_are_no_good_news_for_a_monitor(self, scep, tmp_path):
        (tmp_path / "unmounted").mkdir()
        found = scep("status", "--all", str(tmp_path / "unmounted"), "--check")
        assert found == (FAILED, "FAILED: there are no certificates\n", "")

    def test_for_a_monitor(self, usual, scep, days):
        status, out, _ = scep("status", "--all", "root", "--check")
        assert (status, out[:17]) == (DONE, "OK: 2 certificate")
        status, out, _ = scep("status", "--all", "root", "--check", "--warn", "31d")
        assert status == FAILED
        assert out.startswith("FAILED: root/a valid, ends ")
        assert len(out.splitlines()) == 1
        days(40)
        status, out, _ = scep("status", "--all", "root", "--check")
        assert status == FAILED
        assert "root/b expired" in out

    def test_a_monitor_sees_what_waits(self, serve, enroll, scep, days):
        enroll(serve(grant, Pending()), "a")
        days(20)
        scep("agent", "--once", "root", "--at", "1%")
        status, out, _ = scep("status", "--all", "root", "--check")
        assert status == WAITS
        assert out.startswith("WAITING: root/a waiting for approval")

    def test_metrics(self, usual, scep):
        Path("root/b").rename('root/"b\\')
        scep("agent", "--once", "root", "--deploy-hook", "false")
        scep("status", "--all", "root", "--prometheus", "scep.prom")
        text = Path("scep.prom").read_text()
        assert Path("scep.prom").stat().st_mode & 0o777 == 0o644
        assert 'scep_agent_hook_failures{directory="root/a"} 1\n' in text
        assert 'scep_agent_renewal_failures{directory="root/\\"b\\\\"} 0\n' in text
        assert 'scep_agent_state{directory="root/a",state="renewed, not deployed"} 1\n' in text
        found = pytest.importorskip("prometheus_client.parser").text_string_to_metric_families
        families = {one.name: one for one in found(text)}
        ends = families["scep_certificate_not_after_timestamp_seconds"].samples
        assert {one.labels["directory"] for one in ends} == {"root/a", 'root/"b\\'}
        assert all(one.value > datetime.now(UTC).timestamp() for one in ends)

    def test_usage(self, scep):
        assert scep("status")[0] == USAGE
        assert scep("status", "a", "--check")[0] == USAGE
        assert scep("status", "--all", "nowhere")[0] == USAGE


class TestRenewAll:
    def test_what_is_due(self, usual, scep, days):
        status, _, err = scep("renew", "--all", "root")
        assert status == DONE
        assert err.count("not yet") == 2
        days(22)
        status, out, _ = scep("renew", "--all", "root", "--json")
        assert status == DONE
        assert [one["renewed"] for one in json.loads(out)["directories"]] == [True, True]

    def test_one_fails_and_one_waits(self, serve, enroll, scep):
        site = serve(*[grant] * 3, BadRequest("no"), Pending(), grant)
        enroll(site, "a", "b", "c")
        status, out, _ = scep("renew", "--all", "root", "--force", "--json")
        assert status == FAILED
        rows = json.loads(out)["directories"]
        assert [one["renewed"] for one in rows] == [False, False, True]
        assert rows[0]["code"] == "refused"

    def test_its_certificate_is_deployed_by_the_agent(self, usual, scep):
        scep("agent", "--once", "root", "--deploy-hook", "touch one")
        Path("one").unlink()
        scep("renew", "--all", "root", "--force")
        scep("agent", "--once", "root", "--deploy-hook", "touch one")
        assert Path("one").exists()

    def test_usage(self, scep):
        assert scep("renew")[0] == USAGE
        assert scep("renew", "--all", "x", "--url", "http://a")[0] == USAGE


class TestInstall:
    def test_files_are_written_once(self, scep):
        words = ["agent", "install", "/srv/a b%", "--deploy-hook", 'sh -c "$X"', "--out", "units"]
        status, out, err = scep(*words)
        assert (status, out) == (DONE, "")
        assert err.splitlines() == [
            "wrote units/scep-agent.service",
            "wrote units/scep-agent.timer",
        ]
        service = Path("units/scep-agent.service").read_text()
        line = next(one for one in service.splitlines() if one.startswith("ExecStart="))
        assert line.endswith('agent run --once "/srv/a b%%" --deploy-hook "sh -c \\"$$X\\""')
        assert 'ReadWritePaths="-/srv/a b%%"\n' in service
        timer = Path("units/scep-agent.timer").read_text()
        assert "RandomizedDelaySec=" in timer
        assert "Persistent=true" in timer
        assert scep(*words)[0] == DONE
        status, _, err = scep(*words, "--at", "1/2")
        assert status == USAGE
        assert "--force" in err
        assert scep(*words, "--at", "1/2", "--force")[0] == DONE

    def test_they_are_printed(self, scep):
        status, out, _ = scep("agent", "install", "--print")
        assert status == DONE
        assert "# /etc/systemd/system/scep-agent.timer\n" in out
        assert "ProtectSystem=strict\n" in out
        _, out, _ = scep("agent", "install", "--print", "--user")
        assert "ProtectSystem" not in out
        _, out, _ = scep("agent", "install", "--print", "--cron", "--deploy-hook", "a '%'")
        assert "* * * * root " in out
        assert "\\%" in out

    @pytest.mark.parametrize("how", [["--cron"], []])
    @pytest.mark.parametrize("what", [["/srv/a\n* * * * * root x"], ["--deploy-hook", "a\nb"]])
    def test_no_word_ends_a_line(self, scep, how, what):
        """A line more for cron would be a command more."""
        status, _, err = scep("agent", "install", *what, "--out", "units", *how)
        assert status == USAGE
        assert "control character" in err
        assert not Path("units").exists()

    def test_the_service_may_write_what_renewals_write_elsewhere(self, usual, scep):
        record = Path("root/a/enrolment.json")
        outputs = {"bundle": str(Path("tls").absolute() / "a.pem"), "fullchain": ""}
        record.write_text(json.dumps({**json.loads(record.read_text()), "outputs": outputs}))
        _, out, _ = scep("agent", "install", "root", "--print")
        paths = next(one for one in out.splitlines() if one.startswith("ReadWritePaths="))
        assert paths == f"ReadWritePaths=-{Path('root').absolute()} -{Path('tls').absolute()}"

    def test_a_root_in_a_home_can_be_seen(self):
        assert "ProtectHome" not in agent_units.Units(["x"], [Path("/home/a/scep")]).service()
        assert "ProtectHome=yes" in agent_units.Units(["x"], [Path("/etc/scep")]).service()

    def test_usage(self, scep):
        assert scep("agent", "install", "--cron", "--user")[0] == USAGE
        assert scep("agent", "install", "--at", "7")[0] == USAGE

    @pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not there")
    @pytest.mark.parametrize("user", [False, True])
    def test_systemd_takes_them(self, scep, user, tmp_path):
        more = ["--user"] if user else []
        root = tmp_path / "root"
        root.mkdir()
        scep("agent", "install", root, "--out", "units", "--deploy-hook", 'a "b $c %d"', *more)
        files = ["units/scep-agent.service", "units/scep-agent.timer"]
        which = ["--user"] if user else ["--system"]
        done = subprocess.run(
            ["systemd-analyze", "verify", *which, "--man=no", *files],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)},
        )
        if "scep-agent" not in done.stderr and done.returncode:
            pytest.skip(f"systemd-analyze does not work here: {done.stderr}")
        assert "scep-agent" not in done.stderr
        if not user:
            words = ["systemd-analyze", "security", "--offline=true", "--threshold=30", files[0]]
            done = subprocess.run(words, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stdout
