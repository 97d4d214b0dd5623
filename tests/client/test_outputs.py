"""The further files of a directory, whose they are, and keys under a passphrase; a real server."""

from __future__ import annotations

import grp
import json
import os
import pwd
import signal
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

import httpd
import keys
from forms import short_and_long
from pair import grant
from scepkit import (
    Client,
    Enroller,
    Folder,
    Limits,
    NotDue,
    Pending,
    RenewalOptions,
    Renewer,
    SettingsError,
    StillPending,
    UsageError,
    by_fingerprint,
    events,
)
from scepkit.cli import main
from scepkit.client import folder as folder_module
from scepkit.client.folder import files, outputs, record
from scepkit.client.folder.outputs import OutputChanges, Outputs
from scepkit.client.secret_source import NOWHERE, Secrets, SecretSource

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")


@pytest.fixture
def site(serve):
    return serve(grant)


@pytest.fixture
def wanted(tmp_path):
    """All the further files, in a directory of their own."""
    place = tmp_path / "elsewhere"
    place.mkdir()
    (tmp_path / "p12").write_text("open sesame\n")
    return Outputs(
        fullchain=str(place / "full.pem"),
        bundle=str(place / "bundle.pem"),
        pkcs12=str(place / "dev1.p12"),
        pkcs12_password=f"file:{tmp_path}/p12",
    )


@pytest.fixture
def passphrase(tmp_path):
    (tmp_path / "passphrase").write_text("correct horse\n")
    return SecretSource.parse(f"file:{tmp_path}/passphrase")


def enrol(site, folder, *, outputs=None, **how):
    enroller = Enroller(Client(site.url), folder, by_fingerprint(site.fingerprint), outputs=outputs)
    return enroller.enrol(**({"subject": "CN=dev1"} | how))


def openssl(*command, stdin=""):
    done = subprocess.run(
        ["openssl", *map(str, command)], input=stdin, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def public(path):
    return openssl("pkey", "-in", path, "-pubout")


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def check_outputs(folder, wanted, *, legacy=()):
    """Have openssl read all of them: they are of the certificate that is there now."""
    paths = wanted.paths
    certificate = (folder.path / "cert.pem").read_text()
    assert paths["fullchain"].read_text().startswith(certificate)
    assert public(paths["bundle"]) == public(folder.path / "key.pem")
    assert certificate in paths["bundle"].read_text()
    p12 = ("pkcs12", "-in", paths["pkcs12"], "-passin", "pass:open sesame", *legacy)
    assert openssl("x509", stdin=openssl(*p12, "-clcerts", "-nokeys")) == certificate
    key = openssl(*p12, "-nocerts", "-noenc")
    assert openssl("pkey", "-pubout", stdin=key) == public(folder.path / "key.pem")
    # Its issuer is in there as well, and not in what TLS servers send: it is a root.
    assert openssl(*p12, "-cacerts", "-nokeys").count("BEGIN CERTIFICATE") == 1
    assert paths["fullchain"].read_text().count("BEGIN CERTIFICATE") == 1
    assert [*paths["bundle"].parent.glob(".*")] == []


def test_further_files_are_written_and_written_again(site, tmp_path, wanted):
    folder = Folder(tmp_path / "dev1")
    enrol(site, folder, outputs=wanted)
    check_outputs(folder, wanted)
    modes = {name: mode(path) for name, path in wanted.paths.items()}
    assert modes == {"fullchain": 0o644, "bundle": 0o600, "pkcs12": 0o600}
    before = {path: path.read_bytes() for path in wanted.paths.values()}
    Renewer(Folder(folder.path)).renew(RenewalOptions(force=True))
    check_outputs(folder, wanted)
    assert all(path.read_bytes() != content for path, content in before.items())
    assert folder.files().keys() == {"key", "cert", "chain", "ca", *wanted.paths}


def test_a_pkcs12_is_encrypted_as_programs_of_today_read_it(site, tmp_path, wanted):
    folder = Folder(tmp_path / "dev1")
    enrol(site, folder, outputs=wanted)
    command = ("pkcs12", "-in", wanted.pkcs12, "-passin", "pass:open sesame", "-info", "-noout")
    done = subprocess.run(["openssl", *command], capture_output=True, text=True, check=True)
    assert "PBES2, PBKDF2, AES-256-CBC" in done.stderr
    assert "MAC: sha256" in done.stderr
    enrol(site, folder, outputs=replace(wanted, pkcs12_legacy=True), force=True)
    done = subprocess.run(
        ["openssl", *command, "-legacy"], capture_output=True, text=True, check=True
    )
    assert "3-KeyTripleDES-CBC" in done.stderr
    assert "MAC: sha1" in done.stderr


def test_further_files_may_be_in_the_directory_itself(site, tmp_path):
    folder = Folder(tmp_path / "dev1")
    wanted = Outputs(fullchain=str(folder.path / "fullchain.pem"))
    enrol(site, folder, outputs=wanted)
    assert (folder.path / "fullchain.pem").exists()
    for name in ("cert.pem", "key.pem", "key.pem.new", "next"):
        with pytest.raises(UsageError, match="one of the files"):
            enrol(site, folder, outputs=Outputs(bundle=str(folder.path / name)), force=True)


def test_what_could_not_be_written_is_said_before_anything_is_asked(site, tmp_path, wanted):
    (tmp_path / "p12").unlink()
    with pytest.raises(SettingsError, match="p12: No such file"):
        enrol(site, Folder(tmp_path / "dev1"), outputs=wanted)
    for path in (tmp_path / "nowhere/full.pem", tmp_path, tmp_path / "p12x" / "y"):
        with pytest.raises(SettingsError, match="cannot write"):
            enrol(site, Folder(tmp_path / "dev2"), outputs=Outputs(fullchain=str(path)))
    assert site.scep.asked == []
    assert not (tmp_path / "dev2").exists()


def test_a_file_that_cannot_be_written_leaves_all_as_it_was(site, tmp_path, wanted, monkeypatch):
    """The disk is full, say. The next attempt goes on, with the same key."""
    folder = Folder(tmp_path / "dev1")
    enrol(site, folder, outputs=wanted)
    everything = {p: p.read_bytes() for p in (*folder.files().values(),)}
    really = outputs.write_file

    def full(path, *rest, **how):
        if path.name.startswith(".dev1.p12"):
            raise SettingsError(f"cannot write {path}: No space left on device")
        really(path, *rest, **how)

    monkeypatch.setattr(outputs, "write_file", full)
    with pytest.raises(SettingsError, match="No space left"):
        Renewer(Folder(folder.path)).renew(RenewalOptions(force=True))
    assert {p: p.read_bytes() for p in everything} == everything
    monkeypatch.setattr(outputs, "write_file", really)
    Renewer(Folder(folder.path)).renew()
    check_outputs(folder, wanted)
    assert all(
        p.read_bytes() != old
        for p, old in everything.items()
        if p.name not in {"ca.pem", "chain.pem"}
    )


def test_an_interruption_between_the_renamings_is_finished(site, tmp_path, wanted, monkeypatch):
    """At each of them: until the last one the rest waits, and recover does it."""
    folder = Folder(tmp_path / "dev1")
    enrol(site, folder, outputs=wanted)
    really = type(folder.path).replace
    for stop in range(8):
        left = iter(range(stop))

        def replace_some(path, target, left=left):
            # Files that are written whole are renamed too, from a name of their own.
            if path.name.endswith(".new") and next(left, None) is None:
                raise KeyboardInterrupt
            return really(path, target)

        monkeypatch.setattr(type(folder.path), "replace", replace_some)
        with pytest.raises(KeyboardInterrupt):
            Renewer(Folder(folder.path)).renew(RenewalOptions(force=True))
        monkeypatch.setattr(type(folder.path), "replace", really)
        with folder.locked():
            assert folder.recover()
        check_outputs(folder, wanted)


def test_what_a_killed_process_had_half_written_goes(site, tmp_path, wanted):
    folder = Folder(tmp_path / "dev1")
    enrol(site, folder, outputs=wanted)
    place = wanted.paths["bundle"].parent
    half = place / f"..bundle.pem.new.{'0' * 16}.tmp"
    other = place / f".another.{'0' * 16}.tmp"
    half.write_text("a key")
    other.write_text("somebody else's")
    with folder.locked():
        pass
    assert (half.exists(), other.exists()) == (False, True)


def killed_over_staging(folder, monkeypatch, change):
    """Let a change end where the further files wait, and nothing else does."""

    def die(*_arguments, **_how):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(folder_module, "write_file", die)
        with pytest.raises(KeyboardInterrupt):
            change()


@pytest.mark.parametrize(
    "end",
    [
        lambda folder, key, made: folder.begin(key, replace(made, outputs=Outputs())),
        lambda folder, key, _made: folder.begin(key),
        lambda folder, _key, _made: folder.give_up(),
        lambda folder, _key, made: folder.change_outputs(replace(made, outputs=Outputs())),
        lambda folder, _key, _made: folder.locked().__enter__(),
    ],
    ids=["another record", "no record", "refused", "other files", "another process"],
)
def test_a_file_that_waits_goes_with_its_record(site, tmp_path, wanted, monkeypatch, end):
    """It holds the key that may be certified yet, beside the place of a file nobody wants now."""
    folder = Folder(tmp_path / "dev1")
    issued = enrol(site, folder)
    place = wanted.paths["bundle"].parent
    made, key = replace(folder.record(), outputs=wanted), folder.key()
    folder.begin(key, made)
    killed_over_staging(folder, monkeypatch, lambda: folder.install(issued))
    assert len([*place.iterdir()]) == 3
    end(folder, key, made)
    assert [*place.iterdir()] == []


def test_a_change_to_the_next_ca_leaves_no_file_waiting(site, tmp_path, wanted, monkeypatch):
    folder = Folder(tmp_path / "dev1")
    issued = enrol(site, folder)
    place = wanted.paths["bundle"].parent
    ahead, key = folder.ahead, folder.key()
    ahead.begin(key, replace(folder.record(), outputs=wanted))
    ahead.install(issued)
    killed_over_staging(folder, monkeypatch, folder.switch)
    assert len([*place.iterdir()]) == 3
    folder.begin(key, folder.record())
    assert [*place.iterdir()] == []
    folder.switch()
    check_outputs(folder, wanted)


def test_files_that_are_to_be_renamed_stay(site, tmp_path, wanted, monkeypatch):
    folder = Folder(tmp_path / "dev1")
    issued = enrol(site, folder)
    folder.begin(folder.key(), replace(folder.record(), outputs=wanted))
    with monkeypatch.context() as patch:
        patch.setattr(folder_module.Folder, "_rename", lambda _folder: None)
        folder.install(issued)
    with folder.locked():
        assert folder.recover()
    check_outputs(folder, wanted)


@pytest.mark.parametrize("sort", ["rsa:2048", "ec:p256", "ed25519"])
def test_a_key_is_encrypted_and_renewed_from_where_the_record_says(
    site, tmp_path, passphrase, sort
):
    folder = Folder(tmp_path / "dev1", passphrase=passphrase)
    enrol(site, folder, key=sort, challenge="secret")
    for _ in range(2):
        path = folder.path / "key.pem"
        assert "ENCRYPTED PRIVATE KEY" in path.read_text()
        assert mode(path) == 0o600
        openssl("pkey", "-in", path, "-passin", "pass:correct horse", "-noout", "-check")
        Renewer(Folder(folder.path)).renew(RenewalOptions(force=True), challenge="secret")
    text = (folder.path / "enrolment.json").read_text()
    assert "correct horse" not in text
    assert json.loads(text)["passphrase"] == str(passphrase)


def test_a_waiting_key_is_encrypted_too(serve, tmp_path, passphrase):
    site = serve(Pending(), grant)
    folder = Folder(tmp_path / "dev1", passphrase=passphrase)
    client = Client(site.url, limits=Limits(max_wait=0))
    enroller = Enroller(client, folder, by_fingerprint(site.fingerprint))
    with pytest.raises(StillPending):
        enroller.enrol("CN=dev1")
    assert "ENCRYPTED PRIVATE KEY" in folder.unfinished.read_text()
    enroller.enrol("CN=dev1")
    assert Folder(folder.path).key().public_key() == folder.certificate().public_key


def test_another_place_may_be_named_and_a_key_put_into_clear(site, tmp_path, passphrase):
    folder = Folder(tmp_path / "dev1", passphrase=passphrase)
    enrol(site, folder)
    (tmp_path / "passphrase").rename(tmp_path / "moved")
    with pytest.raises(SettingsError, match="cannot read"):
        Renewer(Folder(folder.path)).renew(RenewalOptions(force=True))
    moved = SecretSource.parse(f"file:{tmp_path}/moved")
    Renewer(Folder(folder.path, passphrase=moved)).renew(RenewalOptions(force=True))
    assert folder.record().passphrase == str(moved)
    Renewer(Folder(folder.path, passphrase=NOWHERE)).renew(RenewalOptions(force=True))
    assert folder.record().passphrase == ""
    public(folder.path / "key.pem")


def test_a_passphrase_that_is_typed_is_asked_for_once(site, tmp_path):
    asked = []

    def ask(what):
        asked.append(what)
        return "correct horse"

    folder = Folder(tmp_path / "dev1", Secrets(ask), SecretSource("prompt"))
    enrol(site, folder)
    with pytest.raises(SettingsError, match="nobody is there to ask"):
        Renewer(Folder(folder.path)).renew(RenewalOptions(force=True))
    Renewer(Folder(folder.path, Secrets(ask))).renew(RenewalOptions(force=True))
    assert asked == ["passphrase of the key"] * 2


def test_a_key_that_somebody_encrypted_by_hand_says_what_to_do(site, tmp_path):
    folder = Folder(tmp_path / "dev1")
    enrol(site, folder)
    path = folder.path / "key.pem"
    encrypted = openssl("pkcs8", "-topk8", "-in", path, "-passout", "pass:by hand")
    path.write_text(encrypted)
    with pytest.raises(SettingsError, match="passphrase of the key has to be typed"):
        Renewer(Folder(folder.path)).renew(RenewalOptions(force=True))
    wrong = Secrets(lambda _what: "another")
    with pytest.raises(SettingsError, match="does not open"):
        Renewer(Folder(folder.path, wrong)).renew(RenewalOptions(force=True))


@needs_root
def test_files_belong_to_whom_they_are_given_to(site, tmp_path, wanted):
    nobody = pwd.getpwnam("nobody")
    group = grp.getgrgid(nobody.pw_gid)
    given = replace(wanted, owner="nobody", group=group.gr_name, mode="640", key_mode="440")
    above = tmp_path / "made" / "too"
    folder = Folder(above / "dev1")
    enrol(site, folder, outputs=given)
    # What they are in has to be passed through.
    assert [mode(one) for one in (above, above.parent)] == [0o711, 0o711]
    for _ in range(2):
        for name, path in folder.files().items():
            found = path.stat()
            assert (found.st_uid, found.st_gid) == (nobody.pw_uid, nobody.pw_gid), name
            is_key = name in ("key", "bundle", "pkcs12")
            assert mode(path) == (0o440 if is_key else 0o640), name
        found = folder.path.stat()
        # What a renewal obeys stays root's.
        assert (found.st_uid, found.st_gid, mode(folder.path)) == (0, nobody.pw_gid, 0o751)
        assert (folder.path / "enrolment.json").stat().st_uid == 0
        Renewer(Folder(folder.path)).renew(RenewalOptions(force=True))
    (folder.path / "key.pem").chmod(0o444)
    with pytest.raises(SettingsError, match="open to others than its owner and its group"):
        folder.key()


@needs_root
def test_an_owner_of_a_directory_names_no_files_outside_of_it(site, tmp_path, wanted):
    """Whoever can exchange its record would have root write them, and anywhere."""
    folder = Folder(tmp_path / "dev1")
    folder.path.mkdir()
    os.chown(folder.path, 65534, -1)
    with pytest.raises(SettingsError, match="others can write to"):
        enrol(site, folder, outputs=wanted)
    assert not list(folder.path.iterdir())
    enrol(site, folder, outputs=Outputs(owner="nobody"))


@needs_root
def test_nobody_else_can_open_a_file_before_it_is_given_away(tmp_path, monkeypatch):
    """It is empty and its maker's alone until owner and mode are right."""
    seen, really = [], os.fchown

    def fchown(descriptor, uid, gid):
        found = os.fstat(descriptor)
        seen.append((found.st_size, stat.S_IMODE(found.st_mode) & 0o077))
        really(descriptor, uid, gid)

    monkeypatch.setattr(os, "fchown", fchown)
    uid = pwd.getpwnam("nobody").pw_uid
    files.write_file(tmp_path / "file", b"secret", mode=0o640, owner=(uid, -1))
    assert seen == [(0, 0)]
    assert mode(tmp_path / "file") == 0o640


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"owner": "surely-nobody"}, "there is no user"),
        ({"group": "surely-nobody"}, "there is no group"),
        ({"mode": "777"}, "is not a mode"),
        ({"mode": "rw"}, "is not a mode"),
        ({"mode": "0"}, "is not a mode"),
        ({"key_mode": "644"}, "is not a key mode"),
        ({"key_mode": "660"}, "is not a key mode"),
    ],
)
def test_what_nobody_can_mean_is_refused_before_anything_happens(site, tmp_path, how, said):
    with pytest.raises(UsageError, match=said):
        enrol(site, Folder(tmp_path / "dev1"), outputs=Outputs(**how))
    assert site.scep.asked == []


def test_who_is_not_root_gives_nothing_away(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    monkeypatch.setattr(os, "getgroups", list)
    for how in ({"owner": "root"}, {"group": "4712"}):
        with pytest.raises(SettingsError, match="cannot be given"):
            Outputs(**how).check(tmp_path, ())


def test_a_record_of_before_and_one_of_later_are_read(site, tmp_path, wanted):
    folder = Folder(tmp_path / "dev1")
    enrol(site, folder, outputs=wanted)
    path = folder.path / "enrolment.json"
    kept = json.loads(path.read_text())
    assert folder.record().outputs == wanted
    path.write_text(json.dumps(kept | {"outputs": kept["outputs"] | {"new": 1}, "newer": []}))
    assert folder.record().outputs == wanted
    of_before = {name: kept[name] for name in ("url", "key", "purposes", "capabilities")}
    path.write_text(json.dumps(of_before))
    assert folder.record().outputs == Outputs()
    for damaged in ({"outputs": []}, {"outputs": {"bundle": 1}}, {"same_key": "yes"}):
        path.write_text(json.dumps(kept | damaged))
        with pytest.raises(SettingsError, match="is damaged"):
            folder.record()


def test_a_key_of_ones_own_stays_over_renewals(site, tmp_path):
    folder, own = Folder(tmp_path / "dev1"), keys.rsa_key("own")
    enrol(site, folder, key=own, template="Machine")
    for _ in range(2):
        assert folder.key().private_numbers() == own.private_numbers()
        assert folder.record().template == "Machine"
        csr = site.scep.asked[-1][0].csr
        assert [one.value for one in csr.extensions if one.oid.dotted_string.endswith("311.20.2")]
        Renewer(Folder(folder.path)).renew(RenewalOptions(force=True))
    Renewer(Folder(folder.path)).renew(RenewalOptions(force=True, key="ec:p256"), challenge="x")
    assert folder.record().same_key is False


def test_a_key_that_cannot_be_exported_is_refused_where_it_has_to_be_kept(site, tmp_path):
    class Foreign(rsa.RSAPrivateKey):
        key_size = 2048
        decrypt = sign = private_numbers = public_key = __copy__ = __deepcopy__ = None

        def private_bytes(self, *_, **__):
            raise RuntimeError("never")

    with pytest.raises(UsageError, match="cannot be exported") as error:
        enrol(site, Folder(tmp_path / "dev1"), key=Foreign())
    assert "Client.enrol" in error.value.hint
    assert not (tmp_path / "dev1").exists()


def csr_of(key, tmp_path, text=""):
    (tmp_path / "own.key").write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    )
    config = tmp_path / "config"
    config.write_text(
        f"[req]\ndistinguished_name=d\nprompt=no\nattributes=a\nreq_extensions=e\n"
        f"[d]\nCN=dev1\n[a]\n{text}\n[e]\nsubjectAltName=DNS:dev1.example\n"
        "extendedKeyUsage=serverAuth\n1.3.6.1.4.1.311.20.2=ASN1:BMP:Machine\n"
    )
    return openssl("req", "-new", "-key", tmp_path / "own.key", "-config", config).encode()


def test_a_pkcs10_of_somebody_elses_goes_out_as_it_is(site, tmp_path):
    folder, own = Folder(tmp_path / "dev1"), keys.rsa_key("own")
    csr = csr_of(own, tmp_path, "challengePassword=s3cret")
    enrol(site, folder, subject=None, csr=csr, key=own)
    sent = site.scep.asked[-1][0].csr
    assert sent.der == openssl_der(csr)
    assert sent.challenge_password == "s3cret"
    kept = folder.record()
    assert (kept.purposes, kept.template, kept.same_key) == (("server_auth",), "Machine", True)
    Renewer(Folder(folder.path)).renew(RenewalOptions(force=True))
    again = site.scep.asked[-1][0].csr
    assert str(again.subject) == str(sent.subject)
    assert again.spki == sent.spki


def openssl_der(csr):
    command = ["openssl", "req", "-outform", "DER"]
    return subprocess.run(command, input=csr, capture_output=True, check=True).stdout


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"key": "rsa:2048"}, "there is no key to the PKCS#10"),
        ({"subject": "CN=x"}, "signed and cannot be added to"),
        ({"template": "Machine"}, "signed and cannot be added to"),
        ({"challenge": "x"}, "no challenge can be added"),
        ({"key": keys.rsa_key("other")}, "not the key of the PKCS#10"),
        ({"csr": b"nothing"}, "the PKCS#10 cannot be used"),
    ],
)
def test_what_does_not_go_with_a_pkcs10_is_said(site, tmp_path, how, said):
    own = keys.rsa_key("own")
    asked = {"subject": None, "csr": csr_of(own, tmp_path), "key": own} | how
    with pytest.raises(UsageError, match=said):
        enrol(site, Folder(tmp_path / "dev1"), **asked)
    assert site.scep.asked == []
    assert not (tmp_path / "dev1").exists()


def test_a_certificate_of_the_next_ca_writes_the_further_files_when_it_is_in_force(
    serve, tmp_path, wanted
):
    site = serve(grant, following=httpd.ca("next-ca"))
    folder = Folder(tmp_path / "dev1")
    enrol(site, folder, outputs=wanted)
    before = wanted.paths["bundle"].read_bytes()
    Renewer(Folder(folder.path)).renew(RenewalOptions(next_ca=True))
    assert wanted.paths["bundle"].read_bytes() == before
    site.scep.roll_over()
    Renewer(Folder(folder.path)).renew()
    assert wanted.paths["bundle"].read_bytes() != before
    check_outputs(folder, wanted)


def test_a_record_keeps_no_secret(site, tmp_path, wanted, passphrase):
    folder = Folder(tmp_path / "dev1", passphrase=passphrase)
    enrol(site, folder, outputs=wanted, challenge="s3cret")
    text = record.read(folder.path / "enrolment.json")
    assert not {"open sesame", "correct horse", "s3cret"} & set(repr(text).split("'"))
    everything = b"".join(p.read_bytes() for p in folder.path.iterdir())
    for secret in (b"open sesame", b"correct horse", b"s3cret"):
        assert secret not in everything


def test_a_renewal_that_is_not_due_writes_other_files(site, tmp_path, wanted):
    folder, told = Folder(tmp_path / "dev1"), []
    enrol(site, folder, outputs=replace(wanted, bundle="", pkcs12="", pkcs12_password=""))
    before = folder.require_certificate()
    changes = OutputChanges("", wanted.bundle, wanted.pkcs12, wanted.pkcs12_password)
    outcome = Renewer(folder, outputs=changes, tell=told.append).renew()
    assert isinstance(outcome, NotDue)
    assert folder.require_certificate() == before
    assert folder.record().outputs == replace(wanted, fullchain="")
    # It is not written any more, and was left: the others are of the same certificate.
    check_outputs(folder, wanted)
    (event,) = (one for one in told if isinstance(one, events.OutputsChanged))
    assert event.left == (Path(wanted.fullchain),)
    Renewer(folder).renew(RenewalOptions(force=True))
    assert not Path(wanted.fullchain).read_text().startswith(folder.certificate().pem())
    assert folder.certificate().pem() in Path(wanted.bundle).read_text()
    assert not [*folder.path.glob("*.new")]


def test_a_renewal_writes_other_files_with_the_new_certificate(site, tmp_path, wanted):
    folder = Folder(tmp_path / "dev1")
    enrol(site, folder)
    changes = OutputChanges(wanted.fullchain, wanted.bundle, wanted.pkcs12, wanted.pkcs12_password)
    Renewer(folder, outputs=changes).renew(RenewalOptions(force=True))
    check_outputs(folder, wanted)


@pytest.mark.parametrize(
    "changes",
    [
        OutputChanges(pkcs12="/tmp/a.p12"),
        OutputChanges(pkcs12_password="file:x"),
        OutputChanges(pkcs12_legacy=True),
        OutputChanges(fullchain="/tmp/same", bundle="/tmp/same"),
        OutputChanges(bundle="{}/key.pem"),
    ],
)
def test_changes_that_cannot_be_meant_change_nothing(site, tmp_path, changes):
    folder = Folder(tmp_path / "dev1")
    enrol(site, folder)
    before = folder.record()
    if changes.bundle:
        changes = replace(changes, bundle=changes.bundle.format(folder.path))
    with pytest.raises(UsageError):
        Renewer(folder, outputs=changes).renew()
    assert folder.record() == before


def test_a_place_where_others_can_write_is_told_of(site, tmp_path):
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    folder, told = Folder(tmp_path / "dev1"), []
    outputs = Outputs(fullchain=str(tmp_path / "open/full.pem"))
    Enroller(
        Client(site.url),
        folder,
        by_fingerprint(site.fingerprint),
        outputs=outputs,
        tell=told.append,
    ).enrol("CN=dev1")
    expected = events.OthersCanWrite(tmp_path / "open", tmp_path / "open")
    assert told.count(expected) == 1
    Renewer(folder, tell=told.append).renew()
    assert told.count(expected) == 2


def test_the_command_changes_them(site, tmp_path, capsys):
    folder, full = Folder(tmp_path / "dev1"), tmp_path / "full.pem"
    enrol(site, folder)
    assert main(["renew", str(folder.path), "--fullchain", str(full)]) == 0
    assert f"further files from now on: {full}" in capsys.readouterr().err
    assert full.read_text() == folder.certificate().pem()
    assert main(["renew", str(folder.path), "--fullchain", ""]) == 0
    assert f"from now on: none; left as they are: {full}" in capsys.readouterr().err
    assert folder.record().outputs == Outputs()
    assert main(["renew", "--all", str(tmp_path), "--bundle", "x"]) == 2


KILLED = """\
import os, signal, sys
from pathlib import Path
from scepkit.cli import main

left, really = int(sys.argv[1]), Path.replace

def replace(path, target):
    global left
    if path.name.endswith(".new"):
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1
    return really(path, target)

Path.replace = replace
sys.exit(main(sys.argv[2:]))
"""


def killed_before_renaming(number, *command):
    """Run a command as a process that is killed before it renames so many files and one."""
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(number), *map(str, command)],
        capture_output=True,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr


@pytest.mark.parametrize("number", short_and_long(0, 4, 7, of=range(8)))
def test_a_renewal_that_is_killed_between_two_renamings_is_finished(
    site, tmp_path, wanted, number, capsys
):
    folder = Folder(tmp_path / "dev1")
    enrol(site, folder, outputs=wanted)
    before = folder.certificate()
    killed_before_renaming(number, "renew", folder.path, "--force")
    assert folder.certificate() == before
    assert main(["renew", str(folder.path)]) == 0
    assert "finished the installation" in capsys.readouterr().err
    assert folder.certificate() != before
    assert folder.key()
    check_outputs(folder, wanted)
    assert not [*folder.path.glob("*.new")]


@pytest.mark.parametrize("number", short_and_long(0, 3, of=range(5)))
def test_a_change_of_files_that_is_killed_between_two_renamings_is_finished(
    site, tmp_path, wanted, number, capsys
):
    folder = Folder(tmp_path / "dev1")
    enrol(site, folder)
    before = folder.certificate()
    changes = ("--fullchain", wanted.fullchain, "--bundle", wanted.bundle)
    changes += ("--pkcs12", wanted.pkcs12, "--pkcs12-password", wanted.pkcs12_password)
    killed_before_renaming(number, "renew", folder.path, *changes)
    assert main(["renew", str(folder.path)]) == 0
    assert "finished the installation" in capsys.readouterr().err
    assert folder.certificate() == before
    assert folder.record().outputs == wanted
    check_outputs(folder, wanted)
    assert not [*folder.path.glob("*.new")]
