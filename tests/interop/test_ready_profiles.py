"""Certificates of the ready profiles, as four readers that are not ours judge them."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from ca.linting import findings
from interop import building
from interop.programs import built, require, run
from scepkit.keys import pem
from scepkit.protocol.extensions import purpose_name
from scepkit.server.settings.profiles import inheritance

pytestmark = pytest.mark.interop

_SCRIPT = Path(__file__).parents[2] / "docs" / "ready_profiles.py"
NOW = datetime.now(UTC)
TAG = "tag:microsoft.com,2022-09-14:sid:S-1-5-21-"
PROFILES = sorted(inheritance.ready())
OPENSSL = {"client_auth": "sslclient", "server_auth": "sslserver", "email_protection": "smimesign"}
OIDS = {
    "client_auth": "1.3.6.1.5.5.7.3.2",
    "server_auth": "1.3.6.1.5.5.7.3.1",
    "email_protection": "1.3.6.1.5.5.7.3.4",
    "smartcard_logon": "1.3.6.1.4.1.311.20.2.2",
    "ipsec_ike": "1.3.6.1.5.5.7.3.17",
    "ike_intermediate": "1.3.6.1.5.5.8.2.2",
}


def _script():
    spec = importlib.util.spec_from_file_location("ready_profiles", _SCRIPT)
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


page = _script()
key = cache(pem.generate)
found = cache(lambda kind: page.new_ca(kind, NOW))


class Issued:
    """A certificate of a profile, in files.

    Args:
        directory: for the files.
        profile: the profile's name.
        kinds: the kinds of the keys of the CA and of the certificate.
        asks: whether it asks for all purposes that the profile allows.
    """

    def __init__(self, directory, profile, kinds, *, asks):
        ca_kind, kind = kinds
        sample = page.SAMPLES[profile]
        if asks:
            allowed = inheritance.ready()[profile].allowed_eku
            sample = replace(sample, purposes=tuple(allowed), bound=True)
        ca = found(ca_kind)
        self.der = page.issued(profile, ca, key(kind), sample, NOW)
        self.certificate = x509.load_der_x509_certificate(self.der)
        self.ca, self.file, self.chain = (
            directory / name for name in ("ca.pem", "leaf.pem", "chain.pem")
        )
        root, leaf = (one.public_bytes(Encoding.PEM) for one in (ca.certificate, self.certificate))
        self.ca.write_bytes(root)
        self.file.write_bytes(leaf)
        self.chain.write_bytes(leaf + root)

    @property
    def purposes(self):
        usage = self.certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
        return [purpose_name(one) for one in usage.value]

    @property
    def host(self):
        return next(iter(self._names(x509.DNSName)), None)

    @property
    def uris(self):
        return self._names(x509.UniformResourceIdentifier)

    def _names(self, kind):
        names = self.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        return names.value.get_values_for_type(kind)


@pytest.fixture(
    params=[(profile, asks) for profile in PROFILES for asks in (False, True)],
    ids=lambda one: f"{one[0]}{'-all' if one[1] else ''}",
)
def issued(request, kinds, tmp_path):
    profile, asks = request.param
    return Issued(tmp_path, profile, kinds, asks=asks)


@pytest.fixture(params=[("rsa:3072", "rsa:2048"), ("ec:p256", "ec:p256"), ("ec:p384", "rsa:2048")])
def kinds(request):
    """Return the kinds of the keys of the CA and of the certificate."""
    return request.param


def test_pkilint_has_nothing_to_say(issued):
    """But that a tag, which is a URI (RFC 4151), is no URL: it knows URLs alone."""
    said = findings(issued.der)
    tags = {str(one) for one in issued.uris if one.startswith(TAG)}
    no_urls = {("ERROR", "pkix.invalid_uri_syntax", f'Invalid URI syntax: "{one}"') for one in tags}
    assert set(said) == no_urls


def test_openssl_takes_it_for_each_purpose(issued, tmp_path):
    (openssl,) = require("openssl")
    for name, purpose in OPENSSL.items():
        command = (openssl, "verify", "-x509_strict", "-purpose", purpose)
        done = run(*command, "-CAfile", issued.ca, issued.file, cwd=tmp_path)
        assert (done.status == 0) is (name in issued.purposes), f"{name}: {done.text}"


def test_gnutls_takes_it_for_each_purpose(issued, tmp_path):
    (certtool,) = require("certtool")
    for name, oid in OIDS.items():
        command = (certtool, "--verify-chain", "--infile", issued.chain, "--verify-purpose", oid)
        done = run(*command, cwd=tmp_path)
        assert (done.status == 0) is (name in issued.purposes), f"{name}: {done.text}"
    shown = run(certtool, "--certificate-info", "--infile", issued.file, cwd=tmp_path)
    assert shown.status == 0, shown.text
    assert "error" not in shown.text.lower()
    if issued.host:
        assert f"DNSname: {issued.host}" in shown.out


def test_go_takes_it_for_each_purpose(issued, tmp_path):
    goverify = built(building.GO_VERIFY) / building.GO_VERIFY.name
    for name in OPENSSL:
        host = (issued.host,) if issued.host else ()
        done = run(goverify, issued.ca, issued.file, name, *host, cwd=tmp_path)
        assert (done.status == 0) is (name in issued.purposes), f"{name}: {done.text}"
    if issued.host:
        assert run(
            goverify, issued.ca, issued.file, issued.purposes[0], "other.example", cwd=tmp_path
        ).status


def test_the_judges_see_what_is_wrong(tmp_path):
    """A certificate of another CA passes none of them."""
    one = Issued(tmp_path, "tls-server", ("ec:p256", "ec:p256"), asks=False)
    other = page.new_ca("ec:p256", NOW).certificate.public_bytes(Encoding.PEM)
    one.ca.write_bytes(other)
    one.chain.write_bytes(one.file.read_bytes() + other)
    openssl, certtool = require("openssl", "certtool")
    goverify = built(building.GO_VERIFY) / building.GO_VERIFY.name
    for command in (
        (openssl, "verify", "-x509_strict", "-CAfile", one.ca, one.file),
        (certtool, "--verify-chain", "--infile", one.chain),
        (goverify, one.ca, one.file, "server_auth", one.host),
    ):
        assert run(*command, cwd=tmp_path).status != 0
