"""A TLS client certificate: shown by both transports, recorded, and shown again by renewals."""

from __future__ import annotations

import contextlib
import json

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

import httpd
import keys
from pair import grant
from scepkit import (
    Client,
    Connection,
    Enroller,
    Folder,
    RenewalOptions,
    Renewer,
    SettingsError,
    TransportError,
    by_fingerprint,
)
from scepkit.cli import main
from scepkit.client.folder.record import ServerChanges
from scepkit.client.http import HTTPTransport
from scepkit.client.secret_source import Secrets, SecretSource
from scepkit.client.tls import ClientCertificate


@pytest.fixture
def shown(tmp_path):
    """The files of a client: a certificate, its key in clear and encrypted, both in one."""
    key = keys.rsa_key("tls-client")
    certificate = (
        x509.CertificateBuilder()
        .subject_name(keys.name("client"))
        .issuer_name(httpd.ca().x509.subject)
        .public_key(key.public_key())
        .serial_number(3)
        .not_valid_before(httpd.today() - httpd.DAY)
        .not_valid_after(httpd.today() + httpd.DAY)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(httpd.ca().key.public_key()),
            critical=False,
        )
        .sign(httpd.ca().key, keys.SHA256)
    )
    pem = certificate.public_bytes(Encoding.PEM)
    how = (Encoding.PEM, PrivateFormat.PKCS8)
    clear = key.private_bytes(*how, NoEncryption())
    files = {
        "cert": pem,
        "key": clear,
        "both": pem + clear,
        "encrypted": key.private_bytes(*how, BestAvailableEncryption(b"open sesame")),
        "passphrase": b"open sesame\n",
        "another": keys.rsa_key("another").private_bytes(*how, NoEncryption()),
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    return tmp_path


@pytest.fixture
def site(serve, tls_files):
    return serve(grant, tls=tls_files / "server.pem", clients=tls_files / "ca.pem")


def certificates(place):
    source = SecretSource.parse(f"file:{place}/passphrase")
    return {
        "one file": ClientCertificate(place / "both"),
        "two files": ClientCertificate(place / "cert", place / "key"),
        "encrypted": ClientCertificate(place / "cert", place / "encrypted", source),
    }


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize("how", ["one file", "two files", "encrypted"])
def test_a_server_that_wants_to_see_a_certificate_sees_it(
    new_transport, site, tls_files, shown, how
):
    client = certificates(shown)[how]
    made = new_transport(ca_file=tls_files / "ca.pem", client_certificate=client)
    with contextlib.closing(made) as transport:
        assert Client(site.url, transport=transport).get_ca(site.fingerprint)


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_without_it_there_is_an_error_that_says_what_to_do(new_transport, site, tls_files):
    with (
        contextlib.closing(new_transport(ca_file=tls_files / "ca.pem")) as transport,
        pytest.raises(TransportError) as caught,
    ):
        Client(site.url, transport=transport).ask()
    assert caught.value.hint


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda at: ClientCertificate(at / "missing"), "cannot read .*missing: No such file"),
        (lambda at: ClientCertificate(at / "cert"), "cannot be used as a TLS client certificate"),
        (lambda at: ClientCertificate(at / "cert", at / "another"), "another one's"),
        (lambda at: ClientCertificate(at / "cert", at / "encrypted"), "has to be typed"),
        (
            lambda at: ClientCertificate(
                at / "cert", at / "encrypted", SecretSource.parse(f"file:{at}/cert")
            ),
            "passphrase of the key is another one",
        ),
    ],
)
def test_files_that_cannot_be_used_are_said(shown, made, said):
    with pytest.raises(SettingsError, match=said) as caught:
        HTTPTransport(client_certificate=made(shown))
    assert caught.value.hint
    assert "open sesame" not in str(caught.value)


def test_a_renewal_shows_it_again(site, tls_files, shown, tmp_path):
    ca_file, client = tls_files / "ca.pem", certificates(shown)["encrypted"]
    folder = Folder(tmp_path / "dev1")
    with contextlib.closing(HTTPTransport(ca_file=ca_file, client_certificate=client)) as transport:
        Enroller(
            Client(site.url, transport=transport),
            folder,
            by_fingerprint(site.fingerprint),
            tls_ca=ca_file,
            client_certificate=client,
        ).enrol("CN=dev1")
    text = (folder.path / "enrolment.json").read_text()
    assert "open sesame" not in text
    assert json.loads(text)["tls_passphrase"] == f"file:{shown}/passphrase"
    first = folder.certificate()
    Renewer(folder).renew(RenewalOptions(force=True))
    assert folder.certificate() != first
    # Another one from now on, whose passphrase is typed.
    (shown / "passphrase").unlink()
    with pytest.raises(SettingsError, match="cannot read"):
        Renewer(folder).renew(RenewalOptions(force=True))
    typed = Secrets(lambda _what: "open sesame")
    other = ClientCertificate(shown / "cert", shown / "encrypted", SecretSource("prompt"))
    Renewer(
        folder, Connection(secrets=typed), server=ServerChanges(client_certificate=other)
    ).renew(RenewalOptions(force=True))
    assert folder.record().tls_passphrase == "prompt"
    Renewer(
        folder, server=ServerChanges(client_certificate=ClientCertificate(shown / "both"))
    ).renew(RenewalOptions(force=True))
    kept = folder.record()
    assert (kept.tls_cert, kept.tls_key, kept.tls_passphrase) == (str(shown / "both"), "", "")


def test_the_commands_show_it(site, tls_files, shown, tmp_path, capsys):
    out, shows = tmp_path / "dev1", ["--tls-cert", shown / "cert", "--tls-key", shown / "encrypted"]
    shows += ["--tls-passphrase", f"file:{shown}/passphrase", "--tls-ca", tls_files / "ca.pem"]
    enroll = ["enroll", site.url, "--subject", "CN=dev1", "--fingerprint", site.fingerprint]
    assert main([*map(str, [*enroll, "--out", out, *shows])]) == 0
    assert main(["renew", str(out), "--force"]) == 0
    (shown / "passphrase").unlink()
    assert main(["renew", str(out), "--force"]) == 2
    again = ["--tls-cert", shown / "both"]
    assert main([*map(str, ["renew", out, "--force", *again])]) == 0
    assert main(["renew", str(out), "--force"]) == 0
    capsys.readouterr()
    assert main(["renew", str(out), "--tls-key", "x"]) == 2
    assert "--tls-key and --tls-passphrase go with --tls-cert" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["caps", "ca", "next-ca"])
def test_the_commands_that_look_at_a_server_show_it(site, tls_files, shown, capsys, command):
    trust = ["--fingerprint", site.fingerprint] if command == "next-ca" else []
    looks = [*map(str, ["get", command, site.url, *trust, "--tls-ca", tls_files / "ca.pem"])]
    assert main(looks) == 1
    capsys.readouterr()
    status = main([*looks, "--tls-cert", str(shown / "both")])
    # A CA without a successor has answered, too.
    assert status == 0 or "announces no successor" in capsys.readouterr().err


def test_the_commands_of_a_directory_show_another_one(site, tls_files, shown, tmp_path, capsys):
    out, ca_file = tmp_path / "dev1", ["--tls-ca", tls_files / "ca.pem"]
    enroll = ["enroll", site.url, "--subject", "CN=dev1", "--fingerprint", site.fingerprint]
    both = ["--tls-cert", shown / "both"]
    assert main([*map(str, [*enroll, "--out", out, *ca_file, *both])]) == 0
    (shown / "both").rename(shown / "moved")
    for command in (["get", "cert", "--dir", out], ["revoke", out, "--yes"]):
        capsys.readouterr()
        assert main([*map(str, command)]) == 2
        assert f"cannot read {shown / 'both'}" in capsys.readouterr().err
        main([*map(str, [*command, "--tls-cert", shown / "moved"])])
        assert "TLS" not in capsys.readouterr().err


def test_a_fleet_shows_it_and_records_it(site, tls_files, shown, tmp_path):
    (tmp_path / "devices.csv").write_text("name,subject\ndev1,CN=dev1\n")
    fleet = ["fleet", "enroll", tmp_path / "devices.csv", "--url", site.url]
    fleet += ["--out", tmp_path / "f", "--fingerprint", site.fingerprint]
    fleet += ["--tls-ca", tls_files / "ca.pem"]
    assert main([*map(str, [*fleet, "--patience", "1s"])]) == 1
    assert main([*map(str, [*fleet, "--tls-cert", shown / "both"])]) == 0
    folder = Folder(tmp_path / "f" / "devices" / "dev1")
    assert folder.record().tls_cert == str(shown / "both")
    Renewer(folder).renew(RenewalOptions(force=True))
