"""Keys made once a session, a CA to issue from, and OpenSSL as the judge."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime
from functools import cache
from typing import NamedTuple

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from scepkit.ca import founding, keys
from scepkit.ca.authority import Authority
from scepkit.ca.profile import Profile

NOW = datetime(2026, 11, 5, 12, 30, 15, tzinfo=UTC)


class OpenSSL(NamedTuple):
    """What the openssl command says."""

    directory: object

    def verify(self, certificate, *chain):
        """Fail unless `openssl verify -x509_strict` accepts the certificate at NOW + 1 s."""
        ca, leaf = self.directory / "ca.pem", self.directory / "leaf.pem"
        ca.write_bytes(b"".join(one.public_bytes(Encoding.PEM) for one in chain))
        leaf.write_bytes(certificate.public_bytes(Encoding.PEM))
        at = str(int(NOW.timestamp()) + 1)
        command = ["openssl", "verify", "-x509_strict", "-attime", at, "-CAfile", ca, leaf]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr + self.text(certificate)

    def text(self, certificate):
        command = ["openssl", "x509", "-noout", "-text"]
        pem = certificate.public_bytes(Encoding.PEM)
        return subprocess.run(command, input=pem, capture_output=True, check=True).stdout.decode(
            errors="replace"
        )


@pytest.fixture(scope="session")
def now():
    return NOW


@pytest.fixture(scope="session")
def key():
    """Return a key of a kind, always the same one: making RSA keys is slow."""
    return cache(lambda spec, which=0: keys.generate(spec))


@pytest.fixture(scope="session")
def openssl(tmp_path_factory):
    return OpenSSL(tmp_path_factory.mktemp("openssl"))


@pytest.fixture(scope="session")
def make_ca(key):
    def make(spec="ec:p256", name="Test CA", at=NOW, *, decrypts=False):
        private = key(spec, "ca")
        subject = founding.ca_name(name)
        return Authority(founding.self_signed(private, subject, now=at, decrypts=decrypts), private)

    return make


@pytest.fixture(scope="session")
def ca(make_ca):
    return make_ca()


@pytest.fixture(scope="session")
def issue(ca, key):
    """Issue with everything ordinary but what the test is about."""

    def issue(authority=ca, *, subject=None, public_key=None, requested=(), profile=None, **rest):
        subject = name("device") if subject is None else subject
        return authority.issue(
            subject=subject,
            public_key=public_key or key("rsa:2048").public_key(),
            requested=x509.Extensions(
                [x509.Extension(value.oid, False, value) for value in requested]
            ),
            profile=profile or Profile(),
            now=rest.pop("now", NOW),
            **rest,
        )

    return issue


def name(common_name):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
