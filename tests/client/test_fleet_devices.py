"""The list of a fleet's devices: each form that is read, and each mistake with its place."""

from __future__ import annotations

import csv
import io

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from scepkit import Device, DeviceList, SettingsError
from scepkit.client.fleet.devices import Problem, file_name
from scepkit.protocol.rfc4514 import parse_subject


@pytest.fixture
def read(tmp_path):
    """Return what is read of a file with some octets."""

    def read(content):
        path = tmp_path / "devices.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return [*DeviceList(path).read()]

    return read


@pytest.mark.parametrize("bom", ["", "\N{BYTE ORDER MARK}"], ids=["plain", "BOM"])
@pytest.mark.parametrize("end", ["\n", "\r\n"], ids=["LF", "CRLF"])
@pytest.mark.parametrize("sign", [",", ";", "\t"])
def test_every_form_is_read(read, bom, end, sign):
    rows = [
        ["Name", " SUBJECT ", "san", "challenge", "key", "url", "#room"],
        [
            "dev1",
            '"CN=dev1,O=Exämple"',
            "dns:dev1.example|ip:192.0.2.1",
            "s3cret",
            "ec:p256",
            "",
            "",
        ],
        ["dev2", r'"CN=dev2\, Inc"', "", '"a""b;,"', "", "http://ca.example/scep/x", "cellar"],
    ]
    first, second = read(bom + end.join(sign.join(row) for row in rows) + end)
    assert first == Device(
        "dev1",
        parse_subject("CN=dev1,O=Exämple"),
        (x509.DNSName("dev1.example"), x509.IPAddress(first.names[1].value)),
        "s3cret",
        "ec:p256",
        line=2,
    )
    assert str(first.names[1].value) == "192.0.2.1"
    assert (second.challenge, second.key, second.names) == ('a"b;,', "", ())
    assert second.url == "http://ca.example/scep/x"
    assert "s3cret" not in repr(first)


def test_a_row_may_have_blank_lines_around_it_and_empty_values_behind(read):
    found = read("name;subject\n\n;;\ndev1;CN=dev1;;\n\n")
    assert [(one.name, one.line) for one in found] == [("dev1", 4)]


def test_the_answer_to_a_batch_of_challenges_is_a_list(read):
    (device,) = read(
        "subject,sans,label,challenge,id\n"
        '"CN=router11,O=Example",dns:router11.example;ip:192.0.2.11,order-17,JYK2,3\n'
    )
    assert (device.name, device.challenge) == ("router11", "JYK2")
    assert [str(one.value) for one in device.names] == ["router11.example", "192.0.2.11"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "line 1: there is no column subject"),
        ("name,key\n", "line 1: there is no column subject"),
        ("name,subject,challange\n", "line 1: there is no such column as 'challange'"),
        ("name,subject,name\n", "line 1: there are two columns name"),
        ("name,subject\ndev1\n", "line 2: it has 1 values, and there are 2 columns"),
        ("name,subject\ndev1,CN=dev1,O=Example\n", "line 2: it has 3 values"),
        ("name,subject\n,CN=dev1\n", "line 2, column name: it is empty"),
        ("name,subject\ndev1,\n", "line 2, column subject: it is empty"),
        ("name,subject\ndev1,dev1\n", "line 2, column subject: "),
        ("name,subject,san\ndev1,CN=dev1,ip:1.2.3\n", "line 2, column san: "),
        ("name,subject,san\ndev1,CN=dev1,dns:a.example|\n", "line 2, column san: "),
        ("name,subject,key\ndev1,CN=dev1,rsa:512\n", "line 2, column key: "),
        ("name,subject,url\ndev1,CN=dev1,ftp://x\n", "line 2, column url: "),
        ('name,subject\n"a\nb",CN=dev1\n', "line 2, column name: there is a control character"),
        ("name,subject\ndev1,CN=dev1\nDEV1,CN=dev2\n", "line 3: DEV1 is in line 2 already"),
        ("subject\nCN=dev1\nCN=dev1\n", "line 3: dev1 is in line 2 already"),
        ("subject\nO=Example\n", "line 2, column subject: it has no CN"),
        ("subject,sans\nCN=a,nonsense of:x\n", "line 2, column sans: "),
        ('name,subject\ndev1,"CN=dev1\ndev2,CN=dev2\n', "line 2: this is not CSV"),
        ('name,subject\ndev1,"CN=dev1"x\n', "line 2: this is not CSV"),
        (b"name,subject\ndev1,CN=dev1\ndev2,CN=M\xfcller\n", "line 3: it is not text in UTF-8"),
        (b"name,subject\ndev1,CN=a\0b\n", "line 2: it has a NUL"),
        ("name,subject\n" + "x" * 70000, "line 2: it has more than 65536 octets"),
        ("name,subject\n" + "x" * 201 + ",CN=a\n", "line 2, column name: the name has more"),
    ],
)
def test_a_mistake_has_its_place(read, content, said):
    *_, problem = read(content)
    assert isinstance(problem, Problem)
    assert str(problem).startswith(said)


def test_all_mistakes_are_told_and_no_device_is_given_then(tmp_path):
    path, told = tmp_path / "devices.csv", []
    path.write_text("name,subject\ndev1,nothing\ndev2,CN=dev2\ndev3,\n")
    with pytest.raises(SettingsError, match="has 2 mistakes; nothing was sent"):
        [*DeviceList(path).checked(told.append)]
    assert [one.line for one in told] == [2, 4]
    with pytest.raises(SettingsError, match=r"devices\.csv, line 2, column subject"):
        [*DeviceList(path)]


def test_a_list_without_devices_is_a_mistake(tmp_path):
    path = tmp_path / "devices.csv"
    path.write_text("name,subject\n")
    with pytest.raises(SettingsError, match="has no devices"):
        [*DeviceList(path).checked(print)]
    with pytest.raises(SettingsError, match="cannot read"):
        [*DeviceList(tmp_path / "nowhere").read()]


def test_a_challenge_is_in_no_error(read):
    (problem,) = read("name,subject,challenge\ndev1,CN=dev1,s3cret,s3cret\n")
    assert "s3cret" not in str(problem)


_TEXT = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=20)


@given(
    st.lists(st.tuples(_TEXT, _TEXT), max_size=8, unique_by=lambda row: file_name(row[0]).lower()),
    st.sampled_from(",;\t"),
    st.sampled_from(["utf-8", "utf-8-sig"]),
    st.sampled_from(["\n", "\r\n"]),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
)
def test_what_was_written_is_read(tmp_path_factory, rows, sign, encoding, end, quoting):
    text = io.StringIO()
    writer = csv.writer(text, delimiter=sign, lineterminator=end, quoting=quoting)
    writer.writerow(("name", "subject", "challenge"))
    for name, challenge in rows:
        writer.writerow((name, "CN=x", challenge))
    path = tmp_path_factory.mktemp("list") / "devices.csv"
    path.write_bytes(text.getvalue().encode(encoding))
    assert [(one.name, one.challenge) for one in DeviceList(path)] == rows


@given(
    st.one_of(
        st.binary(max_size=200),
        st.text(alphabet='abc,;"\n\r\tCN=|é\0', max_size=80).map(str.encode),
    )
)
def test_nothing_but_devices_and_mistakes_comes_of_any_octets(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("list") / "devices.csv"
    for begin in (b"", b"name,subject,san\n"):
        path.write_bytes(begin + content)
        for found in DeviceList(path).read():
            assert isinstance(found, Device | Problem)


@given(st.text(min_size=1, max_size=200))
def test_every_name_makes_a_name_for_files(name):
    found = file_name(name)
    assert found.isascii()
    assert 0 < len(found.encode()) <= 64
    assert not set(found) & set('/\\:*?"<>| \0')
    assert not found.startswith((".", "-"))
    assert not found.endswith(".")


@pytest.mark.parametrize(
    "name",
    [
        "..",
        ".",
        "../../etc/passwd",
        "/etc/passwd",
        "a/b",
        "-rf",
        "con",
        "NUL.txt",
        "a.",
        "a" * 65,
        "Gerät 1",
        "a\\b",
        "~",
    ],
)
def test_a_name_that_means_something_to_a_file_system_gets_another(name):
    assert file_name(name) != name
    assert file_name(name) != file_name(name + "x")


@pytest.mark.parametrize("name", ["dev1", "a", "switch-3.lab_2", "00:1B".replace(":", "-")])
def test_a_plain_name_stays(name):
    assert file_name(name) == name
