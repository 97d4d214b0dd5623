"""Facts of the machine in subjects and names: looked up, escaped, and never more than one value."""

from __future__ import annotations

import contextlib
import socket

import pytest
from cryptography.x509.oid import NameOID
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from scepkit import SettingsError, UsageError
from scepkit.client import host_facts
from scepkit.client.host_facts import fill_name, fill_subject
from scepkit.protocol.general_name import parse_san
from scepkit.protocol.rfc4514 import parse_subject

_VALUES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=10)


@pytest.fixture
def machine(monkeypatch):
    """Be on a machine with these facts."""

    def machine(**facts):
        for name, value in facts.items():
            monkeypatch.setitem(host_facts.FACTS, name, lambda value=value: value)

    return machine


def test_facts_stand_where_they_are_named(machine):
    machine(hostname="dev1", fqdn="dev1.example", serial="PF-1, 2+3")
    assert fill_subject("CN={hostname},serialNumber={serial},O={{x}}") == (
        r"CN=dev1,serialNumber=PF-1\2C\202\2B3,O={x}"
    )
    assert fill_name("dns:{fqdn}") == fill_name("{fqdn}") == "dns:dev1.example"
    assert fill_name("root@{fqdn}") == "email:root@dev1.example"
    assert fill_name("upn:{hostname}$@corp.example") == "upn:dev1$@corp.example"
    assert fill_name("uri:urn:serial:{serial}") == "uri:urn:serial:PF-1%2C%202%2B3"
    assert fill_name("https://{fqdn}/") == "https://dev1.example/"
    assert fill_name("dirname:CN={serial}") == r"dirname:CN=PF-1\2C\202\2B3"
    assert fill_name("dev1.example") == "dev1.example"


@given(value=_VALUES)
@example(value="x,O=Evil")
@example(value="x+O=Evil")
@example(value='x",O=Evil')
@example(value="\\")
@example(value=" #0c01")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_fact_adds_no_attribute(machine, value):
    machine(serial=value)
    for template in ("CN=a{serial}b,O=Example", "O=Example,CN=a{serial}b"):
        # What no certificate has, such as NUL, is refused.
        with contextlib.suppress(UsageError):
            name = parse_subject(fill_subject(template))
            assert [one.value for one in name.get_attributes_for_oid(NameOID.COMMON_NAME)] == [
                f"a{value}b"
            ]
            assert len(list(name)) == 2
            assert parse_san(fill_name(f"dirname:{template}")).value == name


@given(value=_VALUES)
@example(value="x,dns:evil.example")
@example(value="10.0.0.1")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_fact_does_not_change_the_kind_of_a_name(machine, value):
    machine(serial=value, hostname=value)
    kinds = {"{hostname}.example": "DNSName", "dns:{serial}": "DNSName"}
    kinds |= {"{serial}@a.example": "RFC822Name", "uri:urn:{serial}": "UniformResourceIdentifier"}
    for template, kind in kinds.items():
        with contextlib.suppress(UsageError):
            assert type(parse_san(fill_name(template))).__name__ == kind


@given(st.text())
def test_text_is_filled_or_refused(text):
    for fill in (fill_subject, fill_name):
        with contextlib.suppress(UsageError, SettingsError):
            if "{" not in text and "}" not in text:
                assert fill(text) == text
            fill(text)


@pytest.mark.parametrize(
    ("text", "meant"),
    [("CN={hostnam}", "{hostname}"), ("CN={HOSTNAME}", "{hostname}"), ("CN={fdqn}", "{fqdn}")],
)
def test_what_may_have_been_meant_is_said(text, meant):
    with pytest.raises(UsageError) as error:
        fill_subject(text)
    assert f"did you mean {meant}?" in error.value.hint


@pytest.mark.parametrize("text", ["CN={", "CN=}", "CN={hostname", "CN=hostname}", "CN={}"])
def test_a_brace_has_a_partner_and_something_in_it(text):
    with pytest.raises(UsageError) as error:
        fill_subject(text)
    assert error.value.hint


def test_the_serial_number_is_of_the_file_that_is_there(monkeypatch, tmp_path):
    first, second = tmp_path / "product_serial", tmp_path / "serial-number"
    monkeypatch.setattr(host_facts, "SERIAL_FILES", (first, second))
    with pytest.raises(SettingsError, match="has no serial number"):
        fill_subject("CN={serial}")
    second.write_bytes(b"10000000abcd\0")
    assert fill_subject("CN={serial}") == "CN=10000000abcd"
    first.write_bytes(b"PF1ABCDE\n")
    assert fill_subject("CN={serial}") == "CN=PF1ABCDE"


_NOBODYS = "0|00000000|Default string|To Be Filled By O.E.M.|None|Not Specified|a\x1bb|"


@pytest.mark.parametrize("text", [*_NOBODYS.split("|"), "System Serial Number"])
def test_a_serial_number_that_all_machines_have_is_none(monkeypatch, tmp_path, text):
    (tmp_path / "serial").write_text(text)
    monkeypatch.setattr(host_facts, "SERIAL_FILES", (tmp_path / "serial",))
    with pytest.raises(SettingsError, match="gave it no serial number"):
        fill_subject("CN={serial}")


def test_a_serial_number_that_this_user_may_not_read_is_said(monkeypatch, tmp_path):
    monkeypatch.setattr(host_facts, "SERIAL_FILES", (tmp_path,))
    with pytest.raises(SettingsError, match="Is a directory") as error:
        fill_subject("CN={serial}")
    assert "as root" in error.value.hint


@pytest.mark.parametrize("canonical", ["dev1", "localhost.localdomain", ""])
def test_a_machine_without_a_domain_says_so(monkeypatch, canonical):
    monkeypatch.setattr(socket, "gethostname", lambda: "dev1")
    found = [(2, 1, 6, canonical, ("127.0.0.1", 0))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    with pytest.raises(SettingsError, match="no domain is known"):
        fill_subject("CN={fqdn}")


def test_the_full_name_is_the_canonical_one(monkeypatch):
    monkeypatch.setattr(socket, "gethostname", lambda: "dev1")
    found = [(2, 1, 6, "dev1.example.", ("192.0.2.1", 0)), (2, 2, 17, "", ("192.0.2.1", 0))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    assert fill_name("{fqdn}") == "dns:dev1.example"
    monkeypatch.setattr(socket, "gethostname", lambda: "dev2.example")
    assert fill_subject("CN={fqdn}") == "CN=dev2.example"


def test_a_machine_without_a_name_says_so(monkeypatch):
    monkeypatch.setattr(socket, "gethostname", lambda: "localhost")
    with pytest.raises(SettingsError, match="no name of its own"):
        fill_subject("CN={hostname}")
