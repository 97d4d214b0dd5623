"""Keys made once a session, a CA to issue from, and OpenSSL as the judge."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from functools import cache
from itertools import count, cycle
from pathlib import Path
from typing import NamedTuple

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from scepkit.ca.authority import Authority
from scepkit.ca.directory import founding
from scepkit.ca.issuer import Order
from scepkit.ca.profiles.profile import Profile
from scepkit.keys import pem as keys
from scepkit.protocol.distinguished_name import Name
from scepkit.protocol.extensions import Extensions, encoded
from waiting import PATIENCE

CHILDREN = Path(__file__).with_name("children.py")
NOW = datetime(2026, 11, 5, 12, 30, 15, tzinfo=UTC)


class OpenSSL(NamedTuple):
    """What the openssl command says."""

    directory: object

    def verify(self, certificate, *chain, at=NOW):
        """Fail unless `openssl verify -x509_strict` accepts the certificate a second later."""
        ca, leaf = self.directory / "ca.pem", self.directory / "leaf.pem"
        ca.write_bytes(b"".join(one.public_bytes(Encoding.PEM) for one in chain))
        leaf.write_bytes(certificate.public_bytes(Encoding.PEM))
        at = str(int(at.timestamp()) + 1)
        command = ["openssl", "verify", "-x509_strict", "-attime", at, "-CAfile", ca, leaf]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr + self.text(certificate)

    def verify_crl(self, crl, ca):
        """Fail unless `openssl crl -verify` accepts the CRL, and return how openssl reads it."""
        pem = self.directory / "crl-ca.pem"
        pem.write_bytes(ca.public_bytes(Encoding.PEM))
        command = ["openssl", "crl", "-inform", "DER", "-noout", "-text", "-verify", "-CAfile", pem]
        done = subprocess.run(command, input=crl, capture_output=True, check=False)
        # Some versions of openssl exit 0 all the same.
        assert b"verify OK" in done.stderr, done.stderr
        assert done.returncode == 0
        return done.stdout.decode(errors="replace")

    def check_revocation(self, certificate, ca, crl, at):
        """Return what `openssl verify -crl_check` says."""
        names = "checked-ca.pem", "checked-leaf.pem", "checked-crl.der"
        root, leaf, file = (self.directory / one for one in names)
        root.write_bytes(ca.public_bytes(Encoding.PEM))
        leaf.write_bytes(certificate.public_bytes(Encoding.PEM))
        file.write_bytes(crl)
        command = ["openssl", "verify", "-crl_check", "-attime", str(int(at.timestamp()))]
        command += ["-CAfile", root, "-CRLfile", file, leaf]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.stdout + done.stderr

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


@pytest.fixture
def new_keys(monkeypatch, key):
    """Let new generations have keys that other tests have had; eighteen in a row differ."""
    numbers = cycle(range(18))
    monkeypatch.setattr(
        founding,
        "generate",
        lambda spec: key(spec, next(numbers)) if spec.startswith("rsa") else keys.generate(spec),
    )


@pytest.fixture
def no_fsync(monkeypatch):
    """Do not wait for the disk."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture(scope="session")
def pool(tmp_path_factory, key):
    """Return a directory of RSA keys for children.py; no test of this process has them."""
    directory = tmp_path_factory.mktemp("pool")
    for which in "abcd":
        keys.write_key(directory / f"{which}.pem", key("rsa:2048", which))
    return directory


@pytest.fixture
def child(pool):
    """Run children.py and return the lines that it says."""

    def child(*arguments):
        command = [sys.executable, CHILDREN, *map(str, arguments)]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=PATIENCE
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    return child


@pytest.fixture
def killed(tmp_path, pool, child, request):
    """Return what an operation leaves when it is killed at its steps in turn.

    In the long form it is each of them, else every third.
    """
    numbers = count()
    every = 1 if request.config.getoption("--long") else 3

    def killed(operation, base=None):
        work = tmp_path / f"killed-{operation}-{next(numbers)}"
        work.mkdir()
        if base is not None:
            shutil.copytree(base, work / "base")
        steps = int(child("kill", operation, work, pool, every)[-1])
        assert steps > 5
        return [work / str(step) for step in range(1, steps, every)]

    return killed


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
        issued = authority.certify(
            Order(
                subject=subject if isinstance(subject, Name) else Name.of(subject),
                public_key=public_key or key("rsa:2048").public_key(),
                requested=requested
                if isinstance(requested, Extensions)
                else Extensions.read(map(encoded, requested)),
                profile=profile or Profile(),
                now=rest.pop("now", NOW),
                **rest,
            )
        )
        return x509.load_der_x509_certificate(issued.der)

    return issue


def name(common_name):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
