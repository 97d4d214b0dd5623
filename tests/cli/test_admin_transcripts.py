"""The transcripts of `scep admin` in tests/cli/admin; see transcript.py for their form.

@ home KEY=VALUE …     make a server's directory, scep-data, with settings for its endpoint
@ section NAME K=V …   add an endpoint
@ enrol NAME           a device enrols with a new challenge; $NAME is its serial number
@ refuse NAME SECRET    a device is refused that asks with a challenge of its own
@ renew NAME NEW       it renews; $NEW is the new serial number
@ expired NAME         what it has ended a day ago
@ request NAME         a device asks without a challenge; $NAME is its PKCS#10's SHA-256
@ certificate NAME FILE  write what a device enrolled for to a file, PEM
@ file NAME TEXT       make a file, with | for line ends
@ exported FILE N      write the audit records behind the first N to a file
@ aged DAYS            all that is stored happened so many days earlier
"""

from __future__ import annotations

import hashlib
import re
import shutil
import sqlite3
import sys
from concurrent.futures import Future
from contextlib import closing
from datetime import UTC, datetime, timedelta
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

import keys
import minted
from enrolment import devices
from scepkit.operations import audit
from scepkit.protocol.certificate import Certificate, show_serial
from scepkit.protocol.scep.messages import PKCSReq
from scepkit.server.directory import data_directory
from scepkit.server.endpoints import assembly
from scepkit.store import Store

HERE = Path(__file__).parent
HOME = Path("scep-data")


def _transcript():
    spec = spec_from_file_location("admin_transcript", HERE / "transcript.py")
    module = module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


transcript = _transcript()


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """Return a data directory that was made once."""
    path = tmp_path_factory.mktemp("made") / "scep-data"
    home = data_directory.prepare(path, now=datetime.now(UTC), layout="ec")
    Store.open(home.settings.database_url).close()
    return path


class Desk:
    """An operator's desk: a data directory, and devices that talk to it without a socket."""

    def __init__(self, made):
        self._made = made
        self.variables = {"NOBODY": "1234567890abcdef1234567890abcdef"}

    def follow(self, what, words):
        getattr(self, what)(*words)

    def home(self, *settings):
        shutil.copytree(self._made, HOME)
        self._add("endpoint.default", settings)

    def section(self, name, *settings):
        with (HOME / "scep.toml").open("a") as file:
            file.write(f"\n[endpoint.{name}]\n")
        self._add(f"endpoint.{name}", settings)
        data_directory.prepare(HOME, now=datetime.now(UTC))

    def _add(self, section, settings):
        lines = "".join("{} = {}\n".format(*one.split("=", 1)) for one in settings)
        path = HOME / "scep.toml"
        text = path.read_text()
        path.write_text(text.replace(f"\n[{section}]\n", f"\n[{section}]\n{lines}"))

    def exported(self, name, after):
        _, store = self._opened()
        with store:
            since = dict.fromkeys(store.audit_heads(), int(after))
            records = audit.export(store, since=since, heads_only=False)
            Path(name).write_text("".join(f"{one.line()}\n" for one in records))

    def enrol(self, name, endpoint="default"):
        home, store = self._opened()
        with store:
            (secret,) = minted.secrets(
                data_directory.challenges_of(home, store, endpoint),
                now=datetime.now(UTC),
                lifetime=timedelta(hours=1),
            )
        reply = self._ask(name, endpoint, secret)
        self.variables[name.upper()] = show_serial(reply.x509.serial_number)
        self.variables["CA"] = home.authority_of(endpoint).material.ca.key_hash.hex()[:8]

    def request(self, name, endpoint="default"):
        self._ask(name, endpoint, None)

    def refuse(self, name, secret):
        message, _, _ = self._message(name, "default", secret)
        home, store = self._opened()
        with store:
            decision = assembly.assemble(home, store)["default"].scep.decide(message)
            refusal = decision.refusal(
                decision.facts(), endpoint="default", peer="192.0.2.7", at=datetime.now(UTC)
            )
            store.keep_refusals([refusal], kept := Future(), most=10)
            assert kept.result() == 1

    def renew(self, old, new):
        home, store = self._opened()
        with store:
            certificate = x509.load_der_x509_certificate(self._row(store, old).der)
            name = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value
            holder = keys.Holder(keys.device(name).key, certificate)
            ra = Certificate.of(home.authority_of("default").material.ra.certificate)
            message = devices.renewal_req(
                to=ra, signer=holder, subject=f"CN={name},O=Example", transaction_id=new
            )
            served = assembly.assemble(home, store)["default"]
            reply = devices.read(served.scep.respond(message), ra, holder)
        self.variables[new.upper()] = show_serial(reply.x509.serial_number)

    def expired(self, name):
        ended = f"{datetime.now(UTC) - timedelta(days=1):%Y-%m-%d %H:%M:%S.000000}"
        with closing(sqlite3.connect(HOME / "scep.db")) as connection, connection:
            connection.execute(
                "UPDATE certificates SET not_after = ? WHERE serial = ?",
                (ended, f"{int(self.variables[name.upper()], 16):x}"),
            )

    def _row(self, store, name):
        return store.certificate(int(self.variables[name.upper()], 16))

    def certificate(self, name, file):
        _, store = self._opened()
        with store:
            der = store.certificate(int(self.variables[name], 16)).der
        pem = x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM)
        Path(file).write_bytes(pem)

    def file(self, name, *words):
        text = re.sub(r"\$([A-Z]+)", lambda match: self.variables[match[1]], " ".join(words))
        Path(name).write_text(text.replace("|", "\n"))

    def aged(self, days):
        with closing(sqlite3.connect(HOME / "scep.db")) as connection, connection:
            for table, columns in {
                "requests": ("created_at", "decided_at", "expires_at"),
                "challenges": ("created_at", "expires_at", "spent_at"),
                "certificates": ("issued_at", "not_before", "not_after"),
            }.items():
                for column in columns:
                    connection.execute(
                        f"UPDATE {table} SET {column} = "
                        f"strftime('%Y-%m-%d %H:%M:%S.000000', {column}, '-{int(days)} days') "
                        f"WHERE {column} IS NOT NULL"
                    )

    def _opened(self):
        home = data_directory.open_existing(HOME, now=datetime.now(UTC))
        return home, Store.open(home.settings.database_url)

    def _ask(self, name, endpoint, challenge):
        message, ra, signer = self._message(name, endpoint, challenge)
        home, store = self._opened()
        with store:
            served = assembly.assemble(home, store)[endpoint]
            return devices.read(served.scep.respond(message), ra, signer)

    def _message(self, name, endpoint, challenge):
        home, store = self._opened()
        store.close()
        ra = Certificate.of(home.authority_of(endpoint).material.ra.certificate)
        signer = keys.device(name)
        wanted = devices.request(
            challenge, subject=f"CN={name},O=Example", sans=[f"{name}.example"], key=signer.key
        )
        self.variables[name.upper()] = hashlib.sha256(wanted.der).hexdigest()
        message = devices.seal(PKCSReq(wanted), to=ra, signer=signer, transaction_id=name)
        return message, ra, signer


@pytest.mark.parametrize("file", sorted((HERE / "admin").glob("*.txt")), ids=lambda file: file.stem)
def test_transcript(file, made, scep):
    desk = Desk(made)
    for step in transcript.read(file.read_text()):
        if step.kind == "$":
            transcript.run(step, scep, desk.variables)
        else:
            what, *words = step.text.split()
            desk.follow(what, words)
