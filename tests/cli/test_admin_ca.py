"""`scep admin ca …`: a CA under somebody else's root, by the commands an operator gives."""

from __future__ import annotations

import hashlib
import json
import subprocess
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization as ser
from cryptography.hazmat.primitives.hashes import MD5, SHA1, SHA256
from cryptography.hazmat.primitives.serialization import pkcs7, pkcs12

import keys
from chains import SIGNS, issue, of_ad_cs
from scepkit.ca.directory import paths, requesting
from scepkit.errors import SettingsError
from scepkit.keys.pem import generate, kind, read_certificates, write_key
from scepkit.server.directory import data_directory
from scepkit.server.directory.database import open_store

NOW = datetime.now(UTC).replace(microsecond=0)
SUBJECT = "CN=Device CA,O=Example,C=CH"
ASKED = ("--subject", SUBJECT, "--key", "ec:p256")


@pytest.fixture
def root_key():
    return keys.rsa_key("root", 2048)


@pytest.fixture
def root(root_key):
    return issue("Example Root", root_key, NOW)


def pem(*certificates):
    return b"".join(one.public_bytes(ser.Encoding.PEM) for one in certificates)


def signed(csr_pem, root, root_key, days=1000):
    """Sign a PKCS#10 as a CA above does: with an ordinary subordinate's extensions."""
    csr = x509.load_pem_x509_csr(csr_pem)
    key_usage = issue("x", root_key, NOW).extensions.get_extension_for_class(x509.KeyUsage).value
    return (
        x509.CertificateBuilder()
        .subject_name(csr.subject)
        .issuer_name(root.subject)
        .public_key(csr.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - timedelta(days=1))
        .not_valid_after(NOW + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(key_usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(csr.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key()),
            critical=False,
        )
        .sign(root_key, SHA256())
    )


@pytest.fixture
def requested(scep, tmp_path, root):
    """A server that waits for its CA's certificate."""
    (tmp_path / "root.pem").write_bytes(pem(root))
    status, out, err = scep("admin", "ca", "request", "default", *ASKED, "--dir", "s")
    assert status == 0, err
    return out.encode()


def test_from_a_request_to_a_server(scep, tmp_path, requested, root, root_key):
    """PEM on stdout, what to compare on stderr; the server starts below the root."""
    status, out, err = scep("admin", "ca", "request", "default", *ASKED, "--dir", "s")
    assert (status, out.encode()) == (0, requested)
    assert "subject     CN=Device CA,O=Example,C=CH" in err
    assert "key         ec:p256" in err
    status, _, err = scep("serve", "--dir", "s", "--port", "0")
    assert status == 2
    assert "waits for its certificate" in err
    assert "scep admin ca install" in err
    certificate = signed(requested, root, root_key)
    (tmp_path / "sub.pem").write_bytes(pem(certificate))
    install = ("admin", "ca", "install", "default", "sub.pem", "--dir", "s", "--chain", "root.pem")
    status, out, err = scep(*install)
    assert status == 0, err
    assert out.startswith("fingerprint  sha256:")
    assert err == "CN=Device CA,O=Example,C=CH is the CA now\n"
    home = data_directory.prepare(tmp_path / "s", now=datetime.now(UTC))
    assert home.material.ca.certificate == certificate
    assert home.authorities["default"].above == (root,)
    assert home.made == ()
    assert not (tmp_path / "s/request").exists()


def test_what_a_server_waits_for_before_its_first_start(scep, tmp_path, requested):
    """No other CA is made, and whatever needs a CA says for what it waits."""
    for command in (("serve",), ("admin", "ca", "list"), ("admin", "challenge", "new")):
        status, _, err = scep(*command, "--dir", "s")
        assert (status, "waits for its certificate" in err) == (2, True), command
    assert not (tmp_path / "s/ca.pem").exists()


def test_a_request_for_programs(scep, requested):
    request = ("admin", "ca", "request", "default", "--dir", "s", "--json")
    _, out, err = scep(*request, *ASKED)
    said = json.loads(out)
    assert said["csr"].encode() == requested
    csr = x509.load_pem_x509_csr(requested)
    spki = csr.public_key().public_bytes(_DER, ser.PublicFormat.SubjectPublicKeyInfo)
    assert said["key_sha256"] == hashlib.sha256(spki).hexdigest()
    assert (said["subject"], said["key"]) == (SUBJECT, "ec:p256")
    assert "subject     CN=Device CA" in err
    _, out, _ = scep(*request, "--drop")
    assert json.loads(out) == {"dropped": True}


@pytest.fixture
def server(scep, tmp_path):
    """A server with the CA that it made itself."""
    home = data_directory.prepare(tmp_path / "s", now=datetime.now(UTC), layout="single")
    open_store(home.settings).close()
    return home


def test_a_ca_that_has_issued_nothing_makes_room(scep, tmp_path, server, requested, root, root_key):
    (tmp_path / "sub.der").write_bytes(
        signed(requested, root, root_key).public_bytes(ser.Encoding.DER)
    )
    status, out, err = scep(
        "admin",
        "ca",
        "install",
        "default",
        "sub.der",
        "--dir",
        "s",
        "--chain",
        "root.pem",
        "--json",
    )
    assert status == 0, err
    said = json.loads(out)
    assert (said["place"], said["in_force"], said["has_root"]) == ("next", True, True)
    assert "is the CA now" in err


def test_a_ca_that_has_issued_stays(scep, tmp_path, server, requested, root, root_key, monkeypatch):
    """The new one is the next, until it is put into force; --now does both."""
    monkeypatch.setattr("scepkit.store.Store.has_issued", lambda *_: True)
    certificate = signed(requested, root, root_key)
    (tmp_path / "sub.p7b").write_bytes(
        pkcs7.serialize_certificates([certificate, root], ser.Encoding.DER)
    )
    status, _, err = scep("admin", "ca", "install", "default", "sub.p7b", "--dir", "s")
    assert status == 0, err
    assert "is the next CA" in err
    assert "scep admin rollover activate --dir s" in err
    status, out, _ = scep("admin", "rollover", "status", "--dir", "s", "--json")
    rows = [json.loads(line) for line in out.splitlines()]
    assert [row["state"] for row in rows if row["role"].lower() == "ca"] == ["next", "current"]
    status, _, err = scep("admin", "rollover", "activate", "--dir", "s", "--yes")
    assert status == 0, err
    status, out, _ = scep("admin", "audit", "list", "--dir", "s", "--json")
    assert "ca-requested" in out
    assert "ca-installed" in out


@pytest.mark.parametrize(
    ("options", "toml", "key"),
    [
        ((), "", "ec:p384"),
        (("--key", "rsa:2048"), "", "rsa:2048"),
        ((), '[ca.default]\nkey = "rsa:4096"\n', "rsa:4096"),
    ],
)
def test_a_ca_is_followed_by_one_with_the_same_kind_of_key(
    scep, tmp_path, root, root_key, options, toml, key
):
    """Unless somebody says another one."""
    request = ("admin", "ca", "request", "default", "--dir", "s")
    _, csr, _ = scep(*request, "--subject", "CN=1", "--key", "ec:p384")
    (tmp_path / "sub.pem").write_bytes(pem(signed(csr.encode(), root, root_key)))
    scep("admin", "ca", "install", "default", "sub.pem", "--dir", "s")
    (tmp_path / "s/scep.toml").write_text(toml)
    status, csr, err = scep(*request, "--subject", "CN=2", *options)
    assert (status, kind(x509.load_pem_x509_csr(csr.encode()).public_key())) == (0, key), err


def test_what_is_above_a_ca_stays_known(
    scep, tmp_path, server, requested, root, root_key, monkeypatch
):
    """A renewed certificate and a next CA need no --chain again, and lose none."""
    chain = tmp_path / "s" / paths.CHAIN
    monkeypatch.setattr("scepkit.store.Store.has_issued", lambda *_: False)
    install = ("admin", "ca", "install", "default", "sub.pem", "--dir", "s")
    (tmp_path / "sub.pem").write_bytes(pem(signed(requested, root, root_key)))
    status, out, err = scep(*install, "--chain", "root.pem", "--json")
    assert (status, json.loads(out)["has_root"]) == (0, True), err

    (tmp_path / "sub.pem").write_bytes(pem(signed(requested, root, root_key, days=1500)))
    status, out, err = scep(*install, "--json")
    assert (status, json.loads(out)["place"]) == (0, "renewed"), err
    assert json.loads(out)["has_root"]
    assert read_certificates(chain) == (root,)

    monkeypatch.setattr("scepkit.store.Store.has_issued", lambda *_: True)
    status, csr, err = scep("admin", "ca", "request", "default", "--subject", "CN=2", "--dir", "s")
    (tmp_path / "sub.pem").write_bytes(pem(signed(csr.encode(), root, root_key)))
    status, out, err = scep(*install, "--json")
    assert (status, json.loads(out)["place"]) == (0, "next"), err
    assert json.loads(out)["has_root"]
    assert read_certificates(tmp_path / "s" / paths.NEXT / paths.CHAIN) == (root,)

    # Of another root nothing is known: it is not taken for one that is.
    other_key = keys.rsa_key("other", 2048)
    other = issue("Other Root", other_key, NOW)
    (tmp_path / "sub.pem").write_bytes(pem(signed(csr.encode(), other, other_key)))
    status, out, err = scep(*install, "--json")
    assert (status, json.loads(out)["has_root"]) == (0, False), err


def test_renewed_with_the_same_key(scep, tmp_path, server):
    """The server's own root stays a root: this asks somebody above to certify its key."""
    status, out, err = scep("admin", "ca", "request", "default", "--same-key", "--dir", "s")
    assert status == 0, err
    csr = x509.load_pem_x509_csr(out.encode())
    assert csr.public_key() == server.material.ca.certificate.public_key()
    assert csr.subject == server.material.ca.certificate.subject


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ((), "the CA needs a name: neither --subject nor [ca.default] in scep.toml has one"),
        (("--subject", SUBJECT, "--drop"), "--subject, --same-key and --drop exclude each other"),
        (("--subject", "nonsense"), "nonsense"),
        (("--subject", SUBJECT, "--key", "rsa:1024"), "cannot make a key of kind 'rsa:1024'"),
        (("--same-key",), "there is no CA in"),
    ],
)
def test_requests_that_cannot_be_made(scep, arguments, error):
    status, out, err = scep("admin", "ca", "request", "default", *arguments, "--dir", "s")
    assert status == 2
    assert out == ""
    assert error in err
    assert "hint:" in err


def test_what_scep_toml_says_of_a_ca_is_asked_for(scep, tmp_path):
    """An option wins over it, but for the name, by which the server knows the CA."""
    (tmp_path / "s").mkdir(mode=0o700)
    (tmp_path / "s/scep.toml").write_text(
        f'[ca.default]\nsubject = "{SUBJECT}"\nkey = "ec:p384"\npath_length = 2\n'
    )
    request = ("admin", "ca", "request", "default", "--dir", "s")
    for options, name, key, length in (
        ((), SUBJECT, "ec:p384", 2),
        (("--subject", SUBJECT, "--key", "ec:p256"), SUBJECT, "ec:p256", 2),
        (("--path-length", "0"), SUBJECT, "ec:p384", 0),
    ):
        status, out, err = scep(*request, *options, "--json")
        assert status == 0, err
        said = json.loads(out)
        assert (said["subject"], said["key"]) == (name, key)
        csr = x509.load_pem_x509_csr(said["csr"].encode())
        basic = csr.extensions.get_extension_for_class(x509.BasicConstraints).value
        assert basic.path_length == length
        scep(*request, "--drop")
    status, _, err = scep(*request, "--subject", "CN=Another")
    assert (status, f'"{SUBJECT}", not "CN=Another"' in err) == (2, True)


def test_names_of_cas(scep):
    for ca, error in (("Vpn", "cannot be called"), ("vpn", "holds no SCEP server yet")):
        status, _, err = scep("admin", "ca", "request", ca, "--subject", SUBJECT, "--dir", "s")
        assert status == 2
        assert error in err


@pytest.mark.parametrize(
    ("layout", "key"), [("default", "rsa:3072"), ("ec", "ec:p256"), ("single", "rsa:2048")]
)
def test_a_layout_that_scep_toml_wants(scep, tmp_path, monkeypatch, root, root_key, layout, key):
    """The request has its key; a certificate that would make another layout is refused."""
    monkeypatch.setattr(requesting, "generate", _quick_key)
    (tmp_path / "s").mkdir(mode=0o700)
    (tmp_path / "s/scep.toml").write_text(f'[endpoint.default]\nlayout = "{layout}"\n')
    admin = ("--dir", "s")
    status, out, err = scep(
        "admin", "ca", "request", "default", "--subject", SUBJECT, "--json", *admin
    )
    assert (status, json.loads(out)["key"]) == (0, key), err
    (tmp_path / "ca.pem").write_bytes(pem(signed(json.loads(out)["csr"].encode(), root, root_key)))
    status, _, err = scep("admin", "ca", "install", "default", "ca.pem", *admin)
    # This certificate may not decrypt: an RA goes with it.
    assert (status, "wants the key layout 'single'" in err) == (
        (2, True) if layout == "single" else (0, False)
    )
    assert (tmp_path / "s/ca.pem").exists() == (layout != "single")


def _quick_key(kind):
    return keys.rsa_key(f"of-{kind}", int(kind[4:])) if kind[:4] == "rsa:" else generate(kind)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("defualt", "did you mean default? "), ("vpm", "did you mean vpn? "), ("zzz", "")],
)
def test_a_mistyped_name_makes_nothing(scep, tmp_path, server, ca, ca_key, typed, meant):
    """Each command says which CAs there are, and which one looks like it."""
    server = server.settings.directory
    toml = server / "scep.toml"
    toml.write_text(f'{toml.read_text()}\n[endpoint.vpn]\nca = "vpn"\n')
    (tmp_path / "ca.pem").write_bytes(pem(ca))
    write_key(tmp_path / "ca.key", ca_key, None)
    before = sorted(server.rglob("*"))
    for command in (
        ("install", typed, "ca.pem"),
        ("import", typed, "--cert", "ca.pem", "--key", "ca.key"),
        ("ra", typed),
        ("show", typed),
        ("export", typed),
        *([("request", typed, "--subject", "CN=x")] if meant else []),
        *([("request", typed, "--drop")] if meant else []),
    ):
        status, _, err = scep("admin", "ca", *command, "--dir", server)
        assert (status, f"there is no CA {typed!r}" in err) == (2, True), command
        assert f"hint: {meant}there are: default, vpn" in " ".join(err.split())
    assert sorted(server.rglob("*")) == before


def test_nothing_is_made_where_no_server_is(scep, tmp_path, ca):
    (tmp_path / "ca.pem").write_bytes(pem(ca))
    for command in (
        ("install", "default", "ca.pem"),
        ("request", "default", "--drop"),
        ("ra", "default"),
        ("export", "default"),
    ):
        scep("admin", "ca", *command, "--dir", "elsewhere")
        assert not (tmp_path / "elsewhere").exists(), command


def test_a_request_for_another_ca_of_a_server(scep, tmp_path, server, root, root_key):
    """It may come before the endpoint that has it; what is missing is said until it is there."""
    server = server.settings.directory
    status, out, err = scep("admin", "ca", "request", "vpn", *ASKED, "--dir", server)
    assert (status, "put [endpoint.vpn]" in err) == (0, True)
    listed = scep("admin", "ca", "list", "--dir", server)[1]
    assert "vpn" not in listed
    (tmp_path / "ca.pem").write_bytes(pem(signed(out.encode(), root, root_key)))
    toml = server / "scep.toml"
    toml.write_text(f'{toml.read_text()}\n[endpoint.vpn]\nca = "vpn"\n')
    rows = scep("admin", "ca", "list", "--json", "--dir", server)[1].splitlines()
    row = next(one for one in map(json.loads, rows) if one["name"] == "vpn")
    assert (row["state"], row["subject"], row["not_after"]) == ("request", SUBJECT, "")
    for command in (("show", "vpn"), ("export", "vpn")):
        status, _, err = scep("admin", "ca", *command, "--dir", server)
        assert (status, "waits for its certificate" in err) == (2, True)
    status, _, err = scep("admin", "ca", "install", "vpn", "ca.pem", "--dir", server)
    assert (status, "put [endpoint.vpn]" in err) == (0, False), err
    assert data_directory.open_existing(
        server, now=data_directory.utc_now()
    ).authorities.keys() == {"default", "vpn"}


def test_installs_that_cannot_be(scep, tmp_path, requested, root, root_key):
    other = issue("Other", keys.rsa_key("other", 2048), NOW, by=(root, root_key))
    (tmp_path / "other.pem").write_bytes(pem(other))
    (tmp_path / "key.pem").write_bytes(
        root_key.private_bytes(ser.Encoding.PEM, ser.PrivateFormat.PKCS8, ser.NoEncryption())
    )
    for file, error in (
        ("other.pem", "for another key than that of the request"),
        ("key.pem", "holds no certificate"),
        ("none.pem", "cannot read none.pem"),
    ):
        status, _, err = scep("admin", "ca", "install", "default", file, "--dir", "s")
        assert status == 2
        assert error in err
        assert "hint:" in err
    scep("admin", "ca", "request", "default", "--drop", "--dir", "s")
    status, _, err = scep("admin", "ca", "install", "default", "other.pem", "--dir", "s")
    assert status == 2
    assert "no request for a CA certificate waits" in err


# --- imported ---


@pytest.fixture
def ca_key():
    return keys.rsa_key("imported", 2048)


@pytest.fixture
def ca(ca_key, root, root_key):
    return of_ad_cs("Issuing CA", ca_key, NOW, (root, root_key))


_PEM, _DER = ser.Encoding.PEM, ser.Encoding.DER
_PKCS8, _PKCS1 = ser.PrivateFormat.PKCS8, ser.PrivateFormat.TraditionalOpenSSL


@pytest.mark.parametrize(
    ("encoding", "form", "passphrase"),
    [
        (_PEM, _PKCS8, None),
        (_DER, _PKCS8, None),
        (_PEM, _PKCS1, None),
        (_DER, _PKCS1, None),
        (_PEM, _PKCS8, "secret words"),
        (_DER, _PKCS8, "secret words"),
        (_PEM, _PKCS1, "secret words"),
    ],
)
def test_keys_of_every_form(scep, tmp_path, ca, ca_key, root, encoding, form, passphrase):
    """PKCS#1, PKCS#8; the certificate with its chain in one file."""
    lock = ser.BestAvailableEncryption(passphrase.encode()) if passphrase else ser.NoEncryption()
    (tmp_path / "ca.key").write_bytes(ca_key.private_bytes(encoding, form, lock))
    (tmp_path / "ca.pem").write_bytes(pem(ca, root))
    (tmp_path / "pass").write_text(passphrase or "")
    (tmp_path / "pass").chmod(0o600)
    files = ("--cert", "ca.pem", "--key", "ca.key")
    if passphrase:
        status, _, err = scep("admin", "ca", "import", "default", *files, "--dir", "s")
        assert status == 2
        assert "nobody can be asked" in err
        files = (*files, "--key-passphrase-file", "pass")
    status, _, err = scep("admin", "ca", "import", "default", *files, "--dir", "s")
    assert status == 0, err
    home = data_directory.prepare(tmp_path / "s", now=datetime.now(UTC))
    assert home.material.ca.certificate == ca
    assert home.authorities["default"].above == (root,)


def test_sec1_of_openssl(scep, tmp_path, root, root_key):
    made = subprocess.run(
        ["openssl", "ecparam", "-genkey", "-name", "secp384r1", "-noout"],
        capture_output=True,
        check=True,
    )
    assert b"BEGIN EC PRIVATE KEY" in made.stdout
    (tmp_path / "ca.key").write_bytes(made.stdout)
    private = ser.load_pem_private_key(made.stdout, None)
    (tmp_path / "ca.pem").write_bytes(pem(issue("EC CA", private, NOW, by=(root, root_key))))
    status, _, err = scep(
        "admin", "ca", "import", "default", "--cert", "ca.pem", "--key", "ca.key", "--dir", "s"
    )
    assert status == 0, err
    assert "no root is known above it" in err


@pytest.mark.parametrize("passphrase", [None, "secret words"])
def test_pkcs12(scep, tmp_path, ca, ca_key, root, answer, passphrase):
    lock = ser.BestAvailableEncryption(passphrase.encode()) if passphrase else ser.NoEncryption()
    file = pkcs12.serialize_key_and_certificates(b"ca", ca_key, ca, [root], lock)
    (tmp_path / "ca.p12").write_bytes(file)
    command = ("admin", "ca", "import", "default", "--p12", "ca.p12", "--dir", "s")
    if passphrase:
        (tmp_path / "pass").write_text("another")
        (tmp_path / "pass").chmod(0o600)
        status, _, err = scep(*command, "--key-passphrase-file", "pass")
        assert status == 2
        assert "its passphrase is another one" in err
        (tmp_path / "pass").write_text(passphrase)
        command = (*command, "--key-passphrase-file", "pass")
    status, _, err = scep(*command)
    assert status == 0, err
    home = data_directory.prepare(tmp_path / "s", now=datetime.now(UTC))
    assert home.material.ca.certificate == ca
    assert home.authorities["default"].above == (root,)


def test_pkcs12_that_is_no_use(scep, tmp_path, ca, ca_key, root):
    (tmp_path / "three.p12").write_bytes(three_keys(ca_key))
    none = pkcs12.serialize_key_and_certificates(b"x", None, None, [root], ser.NoEncryption())
    (tmp_path / "none.p12").write_bytes(none)
    alone = pkcs12.serialize_key_and_certificates(b"x", ca_key, None, None, ser.NoEncryption())
    (tmp_path / "alone.p12").write_bytes(alone)
    (tmp_path / "garbage.p12").write_bytes(b"\x30\x03garbage")
    (tmp_path / "pass").write_text("x")
    (tmp_path / "pass").chmod(0o600)
    for file, error in (
        ("three.p12", "holds 3 private keys"),
        ("none.p12", "holds no private key"),
        ("alone.p12", "holds no certificate for its key"),
        ("garbage.p12", "is no PKCS#12 file"),
    ):
        status, _, err = scep(
            *("admin", "ca", "import", "default", "--p12", file, "--dir", "s"),
            *("--key-passphrase-file", "pass"),
        )
        assert status == 2
        assert error in err
        assert "hint:" in err
    assert not (tmp_path / "s/ca.pem").exists()


def three_keys(ca_key):
    """Return what looks like a PKCS#12 with three keys."""
    private = [ca_key, keys.rsa_key("two", 2048), keys.rsa_key("three", 2048)]
    one = [
        pkcs12.serialize_key_and_certificates(b"x", key, None, None, ser.NoEncryption())
        for key in private
    ]
    # Three files in a row have the bags of three keys; that none of them is whole does not matter.
    return b"".join(one)


def test_imports_that_cannot_be(scep, tmp_path, ca, ca_key, root, root_key):
    (tmp_path / "ca.pem").write_bytes(pem(ca))
    (tmp_path / "other.key").write_bytes(
        root_key.private_bytes(ser.Encoding.PEM, ser.PrivateFormat.PKCS8, ser.NoEncryption())
    )
    for files, error in (
        ((), "either --p12, or --cert and --key"),
        (("--cert", "ca.pem"), "either --p12, or --cert and --key"),
        (("--p12", "x", "--cert", "ca.pem", "--key", "k"), "either --p12"),
        (("--cert", "ca.pem", "--key", "other.key"), "is for another key"),
        (("--cert", "ca.pem", "--key", "ca.pem"), "ca.pem is a certificate, not a private key"),
    ):
        status, _, err = scep("admin", "ca", "import", "default", *files, "--dir", "s")
        assert status == 2
        assert error in err
        assert "hint:" in err
    assert not (tmp_path / "s/ca.pem").exists()


@pytest.mark.parametrize("label", ["PKCS7", "CMS", "CERTIFICATE CHAIN", "PKCS #7 SIGNED DATA", ""])
def test_pkcs7_of_openssl_in_any_order(scep, tmp_path, ca, ca_key, root, label, recwarn):
    """It is BER, and its certificates are a set: the CA's is the one for the key."""
    (tmp_path / "chain.pem").write_bytes(pem(root, ca))
    (tmp_path / "ca.key").write_bytes(
        ca_key.private_bytes(ser.Encoding.PEM, ser.PrivateFormat.PKCS8, ser.NoEncryption())
    )
    form = "PEM" if label else "DER"
    command = f"openssl crl2pkcs7 -nocrl -certfile chain.pem -outform {form} -out ca.p7b"
    subprocess.run(command.split(), cwd=tmp_path, check=True)
    content = (tmp_path / "ca.p7b").read_bytes()
    (tmp_path / "ca.p7b").write_bytes(content.replace(b"PKCS7--", f"{label}--".encode()))
    files = ("--cert", "ca.p7b", "--key", "ca.key")
    status, _, err = scep("admin", "ca", "import", "default", *files, "--dir", "s")
    assert (status, err.strip()) == (0, "CN=Issuing CA is the CA now")
    assert not recwarn.list


def test_an_import_is_protected_with_the_others(scep, tmp_path, ca, ca_key, monkeypatch):
    """The key never lies there in clear where the server's keys do not."""
    (tmp_path / "ca.pem").write_bytes(pem(ca))
    (tmp_path / "ca.key").write_bytes(
        ca_key.private_bytes(ser.Encoding.PEM, ser.PrivateFormat.PKCS8, ser.NoEncryption())
    )
    monkeypatch.setenv("SCEP_KEY_PASSPHRASE", "a passphrase of some length")
    status, _, err = scep(
        "admin", "ca", "import", "default", "--cert", "ca.pem", "--key", "ca.key", "--dir", "s"
    )
    assert status == 0, err
    written = (tmp_path / "s/ca-key.pem").read_text()
    assert written.startswith("-----BEGIN ENCRYPTED PRIVATE KEY")


def test_a_wrong_passphrase_changes_nothing(scep, tmp_path, ca, ca_key, server, monkeypatch):
    """Not for another CA of the server either, whose directory has no key yet."""
    (tmp_path / "ca.pem").write_bytes(pem(ca))
    (tmp_path / "ca.key").write_bytes(
        ca_key.private_bytes(ser.Encoding.PEM, ser.PrivateFormat.PKCS8, ser.NoEncryption())
    )
    for name, text in (("right", "a passphrase of some length"), ("wrong", "another passphrase")):
        (tmp_path / name).touch(0o600)
        (tmp_path / name).write_text(text)
    new = ("--new-passphrase-file", "right")
    assert scep("admin", "ca", "protect", *new, "--dir", "s")[0] == 0
    before = sorted(path for path in (tmp_path / "s").rglob("*") if path.suffix == ".pem")
    monkeypatch.setenv("SCEP_KEY_PASSPHRASE_FILE", str(tmp_path / "wrong"))
    for name in ("default", "other"):
        for command in (
            ("import", name, "--cert", "ca.pem", "--key", "ca.key"),
            ("request", name, *ASKED),
        ):
            status, _, err = scep("admin", "ca", *command, "--dir", "s")
            assert (status, "the passphrase does not open" in err) == (2, True)
            assert len(err.splitlines()) == 2
    assert sorted(path for path in (tmp_path / "s").rglob("*") if path.suffix == ".pem") == before


def test_commands_before_the_first_start_are_none(scep, tmp_path, ca, ca_key):
    """They make the database; the key of the challenges was not lost, it was never made."""
    (tmp_path / "ca.pem").write_bytes(pem(ca))
    (tmp_path / "ca.key").write_bytes(
        ca_key.private_bytes(ser.Encoding.PEM, ser.PrivateFormat.PKCS8, ser.NoEncryption())
    )
    files = ("--cert", "ca.pem", "--key", "ca.key")
    assert scep("admin", "ca", "import", "default", *files, "--dir", "s")[0] == 0
    assert scep("admin", "ca", "list", "--dir", "s")[0] == 0
    home = data_directory.prepare(tmp_path / "s", now=datetime.now(UTC))
    assert home.is_first
    open_store(home.settings).close()
    (tmp_path / "s/challenge.key").unlink()
    with pytest.raises(SettingsError, match="is lost"):
        data_directory.prepare(tmp_path / "s", now=datetime.now(UTC))


# --- shown ---


@pytest.fixture
def imported(scep, tmp_path, ca, ca_key, root):
    file = pkcs12.serialize_key_and_certificates(b"ca", ca_key, ca, [root], ser.NoEncryption())
    (tmp_path / "ca.p12").write_bytes(file)
    scep("admin", "ca", "import", "default", "--p12", "ca.p12", "--dir", "s")
    home = data_directory.prepare(tmp_path / "s", now=datetime.now(UTC))
    open_store(home.settings).close()


def test_list_and_show(scep, imported, ca, root):
    """Fingerprints as devices show them, of the root, too."""
    status, out, _ = scep("admin", "ca", "list", "--dir", "s")
    assert status == 0
    assert out.splitlines()[1].split()[:2] == ["default", "current"]
    status, out, _ = scep("admin", "ca", "show", "--dir", "s")
    for one in (ca, root):
        for digest in (SHA256(), SHA1(), MD5()):
            assert one.fingerprint(digest).hex() in out
    assert "rsa:2048, in clear, in " in out
    status, out, _ = scep("admin", "ca", "show", "--dir", "s", "--json")
    said = json.loads(out)
    assert said["subject"] == "CN=Issuing CA"
    assert [one["subject"] for one in said["above"]] == ["CN=Example Root"]
    assert said["key_state"] == "in clear"


@pytest.mark.parametrize(
    ("content", "state"),
    [(None, "missing"), (b"-----BEGIN ENCRYPTED PRIVATE KEY-----", "encrypted")],
)
def test_show_says_how_the_key_is(scep, tmp_path, imported, content, state):
    """A lost key is not one in clear."""
    path = tmp_path / "s/ca-key.pem"
    path.unlink()
    if content is not None:
        path.write_bytes(content)
        path.chmod(0o600)
    status, out, _ = scep("admin", "ca", "show", "--dir", "s", "--json")
    assert status == 0
    assert json.loads(out)["key_state"] == state


def test_export(scep, tmp_path, imported, ca, root):
    """As PEM on stdout, as DER or PKCS#7 in a file, alone or with the chain."""
    export = ("admin", "ca", "export", "default", "--dir", "s")
    _, out, _ = scep(*export)
    assert x509.load_pem_x509_certificates(out.encode()) == [ca]
    _, out, _ = scep(*export, "--chain")
    assert x509.load_pem_x509_certificates(out.encode()) == [ca, root]
    scep(*export, "--form", "der", "--out", "ca.der")
    assert x509.load_der_x509_certificate((tmp_path / "ca.der").read_bytes()) == ca
    scep(*export, "--form", "pkcs7", "--chain", "--out", "ca.p7b")
    found = pkcs7.load_der_pkcs7_certificates((tmp_path / "ca.p7b").read_bytes())
    assert set(found) == {ca, root}
    _, out, _ = scep(*export, "--chain", "--json")
    assert json.loads(out) == {
        "name": "default",
        "state": "current",
        "certificates": [pem(ca).decode(), pem(root).decode()],
        "file": None,
    }
    for arguments, error in (
        (("--form", "der"), "is for a file"),
        (("--form", "der", "--chain", "--out", "x"), "holds one certificate"),
        (("--generation", "old/1"), "has no generation"),
    ):
        status, _, err = scep(*export, *arguments)
        assert status == 2
        assert error in err


# --- its RA ---


def dropped(tmp_path, certificate, key):
    """Put the files of a CA into a server's directory, as one did before there were commands."""
    (tmp_path / "s").mkdir(mode=0o700)
    (tmp_path / "s/ca.pem").write_bytes(pem(certificate))
    write_key(tmp_path / "s/ca-key.pem", key)


def test_files_that_were_dropped_into_the_directory(scep, tmp_path, root, root_key, ca_key):
    """The first start makes the RA that an ordinary subordinate CA needs; a later one says how."""
    certificate = issue("Issuing CA", ca_key, NOW, by=(root, root_key))
    dropped(tmp_path, certificate, ca_key)
    home = data_directory.prepare(tmp_path / "s", now=datetime.now(UTC))
    assert home.material.ra.certificate.issuer == certificate.subject
    assert home.made == ()
    open_store(home.settings).close()

    for name in ("ra.pem", "ra-key.pem"):
        (tmp_path / "s" / name).unlink()
    status, _, err = scep("serve", "--dir", "s", "--port", "0")
    assert status == 2
    assert "lacks digitalSignature, keyEncipherment" in err
    assert "hint: so it needs an RA: `scep admin ca ra` makes one" in err

    status, out, err = scep("admin", "ca", "ra", "default", "--dir", "s")
    assert (status, err) == (0, "CN=Issuing CA RA is the RA now\n")
    home = data_directory.prepare(tmp_path / "s", now=datetime.now(UTC))
    fingerprint = home.material.ra.certificate.fingerprint(SHA256()).hex()
    assert out == f"fingerprint  sha256:{fingerprint}\n"
    _, out, _ = scep("admin", "audit", "list", "--dir", "s", "--json")
    assert "ra-replaced" in out

    status, out, err = scep("admin", "ca", "ra", "default", "--dir", "s", "--json")
    assert (status, json.loads(out)) == (0, {"made": []})
    assert "nothing was made" in err


def test_a_dropped_ca_that_can_do_without_an_ra(tmp_path, root, root_key, ca_key):
    usages = (*SIGNS, "digital_signature", "key_encipherment")
    dropped(tmp_path, issue("Whole CA", ca_key, NOW, by=(root, root_key), usages=usages), ca_key)
    home = data_directory.prepare(tmp_path / "s", now=datetime.now(UTC))
    assert home.material.layout == "single"
