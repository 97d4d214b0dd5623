"""Batches of challenges: both forms are read, and what is wrong is told by line and field."""

from __future__ import annotations

import csv
import io
import json
from datetime import timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from enrolment.world import HOUR
from scepkit.enrolment.challenges import batch as challenge_batch
from scepkit.enrolment.challenges.batch import Defaults
from scepkit.enrolment.challenges.orders import ChallengeOrder
from scepkit.errors import UsageError
from scepkit.operations.challenges import mint
from scepkit.protocol.distinguished_name import Name
from scepkit.protocol.general_name import parse_san
from scepkit.store import Door


def lifetime(text):
    if not text.endswith("h") or not text[:-1].isdecimal():
        raise UsageError(f"{text!r} is not a duration", hint="write 1h")
    return timedelta(hours=int(text[:-1]))


DEFAULTS = Defaults(HOUR, "usual", lifetime)
DEV1 = ChallengeOrder(2 * HOUR, "CN=dev1,O=Example", ("dns:a.example", "ip:192.0.2.1"), "blue")
DEV2 = ChallengeOrder(HOUR, "CN=dev2", (), "usual")
CSV = (
    "subject,sans,expires,label\n"
    '"CN=dev1,O=Example",dns:a.example;ip:192.0.2.1,2h,blue\n'
    "CN=dev2,,,\n"
)
JSON = (
    '{"subject": "CN=dev1,O=Example", "sans": ["dns:a.example", "ip:192.0.2.1"],'
    ' "expires": "2h", "label": "blue"}\n'
    '{"subject": "CN=dev2"}\n'
)


def read(content, defaults=DEFAULTS):
    return challenge_batch.read(
        content if isinstance(content, bytes) else content.encode(), defaults
    )


@pytest.mark.parametrize("text", [CSV, JSON], ids=["CSV", "JSON lines"])
@pytest.mark.parametrize(
    "written",
    [
        pytest.param(str.encode, id="plain"),
        pytest.param(lambda text: text.encode("utf-8-sig"), id="byte order mark"),
        pytest.param(lambda text: text.replace("\n", "\r\n").encode(), id="CR LF"),
        pytest.param(lambda text: f"\n{text}".replace("\n", "\n\n").encode(), id="empty lines"),
        pytest.param(lambda text: text.rstrip("\n").encode(), id="no end of line"),
    ],
)
def test_both_forms(text, written):
    assert read(written(text)).orders == (DEV1, DEV2)


@pytest.mark.parametrize(
    ("text", "orders"),
    [
        ("subject\nCN=a\n", [("CN=a", (), "usual")]),
        (" Label , SUBJECT\nx,CN=a\n", [("CN=a", (), "x")]),
        ("label\nx\n\n \n", [(None, (), "x")]),
        (
            "subject,sans\nCN=a,a.example b.example\n",
            [("CN=a", ("a.example", "b.example"), "usual")],
        ),
        ('subject,sans\nCN=a,"a.example;\nb"\n', [("CN=a", ("a.example", "b"), "usual")]),
        ("subject,sans\nCN=a, ; \n,\n", [("CN=a", (), "usual")]),
        ('{"label": null, "subject": "CN=Gr\\u00fcn"}', [("CN=Grün", (), "usual")]),
        ("{}\n{}", [(None, (), "usual")] * 2),
        ("subject\rCN=a\rCN=b\r", [("CN=a", (), "usual"), ("CN=b", (), "usual")]),
    ],
)
def test_what_may_be_left_out_or_written_otherwise(text, orders):
    wanted = [
        ChallengeOrder(HOUR, subject, tuple(f"dns:{name}" for name in sans), label)
        for subject, sans, label in orders
    ]
    assert [*read(text).orders] == wanted


@pytest.mark.parametrize(
    "text",
    [
        "data.owner,data.team\nal,\n,blue\n",
        '{"data": {"owner": "al"}}\n{"data": {"team": "blue"}}\n',
    ],
)
def test_a_row_adds_data_to_those_of_all(text):
    """An empty cell is left out."""
    defaults = Defaults(HOUR, None, lifetime, {"team": "red", "site": "7"})
    assert [one.data for one in read(text, defaults).orders] == [
        {"team": "red", "site": "7", "owner": "al"},
        {"team": "blue", "site": "7"},
    ]


def test_rows_that_have_to_have_a_subject():
    defaults = Defaults(HOUR, None, lifetime, needs_subject="they replace")
    with pytest.raises(UsageError, match=r"line 3: subject: it is missing; they replace"):
        read('{"subject": "CN=a"}\n\n{"label": "b"}', defaults)


@pytest.mark.parametrize(
    ("content", "message", "hint"),
    [
        # The text as a whole.
        ("", "there is no row", "one row for each"),
        ("\r\n \n", "there is no row", "one row for each"),
        ("subject\n", "there is no row", "one row for each"),
        ("subject\nCN=a".encode("utf-16"), "line 1: this is UTF-16", "CSV UTF-8"),
        (b"subject\nCN=a\nCN=\xfc\n", "line 3: this is not UTF-8", "UTF-8"),
        ('[{"subject": "CN=a"}]', "line 1: this is a JSON array", "without"),
        # The header.
        ("subject,sans,subject\nCN=a,,CN=b", "line 1: the column subject comes twice", "one of"),
        ("\n\nsubject,kind\nCN=a,b", "line 3: unknown column 'kind'", "subject, sans, expires"),
        ("subject;sans\nCN=a;", "line 1: unknown column 'subject;sans'", "by commas"),
        ("CN=a\nCN=b", "line 1: unknown column 'cn=a'", "has to name the columns"),
        ("subject,\nCN=a,", "line 1: column 2 has no name", "the columns are"),
        ("subject,challenge\nCN=a,X", "line 1: the column challenge is for", "earlier batch"),
        # The rows of CSV.
        ("subject\nCN=a\nCN=b,O=c", "line 3: 2 cells, but the header has 1 column", "in quotes"),
        ("subject,sans\nCN=a", "line 2: 1 cell, but the header has 2 columns", "in quotes"),
        ("subject,label\nCN=a,O=b", "line 2: label: this looks like a part", "in quotes"),
        ('subject\n"CN=a"b\n', "line 2: this is not CSV", "double the quotes"),
        ('subject\nCN=a\n"CN=b\n\n', "line 3: this is not CSV: unexpected end", "in quotes"),
        ("label\n" + "x" * 200_000, "line 2: this is not CSV: field larger", ""),
        ('label,subject\n"a\nb",CN=a\nx,b', "line 2: label: the label has characters", ""),
        ("subject,label\n,x\n", "line 2: subject: it is empty", "any subject"),
        ("subject\nb", "line 2: subject: 'b' is not a subject", "CN=dev1"),
        ("subject,sans\nCN=a,dns:a/b", "line 2: sans: 'dns:a/b' is not", "dns:host.example"),
        ("sans\na.example", "line 2: sans: names alone", "subject they belong to"),
        ("subject,expires\nCN=a,soon", "line 2: expires: 'soon' is not a duration", "1h"),
        ("label\n" + "x" * 101, "line 2: label: the label has 101 characters", ""),
        ("subject\nCN=" + "x" * 4096, "line 2: subject: it has 4099 characters", ""),
        ("subject,sans\nCN=a," + "a;" * 101, "line 2: sans: 101 names", ""),
        ("data.a b\nx", "line 2: data: data cannot be called 'a b'", "begins with a letter"),
        ("data\na=b", "line 1: unknown column 'data'", "data.NAME"),
        ("data.a\n" + "x" * 1001, "line 2: data: the data a has to be 1 to 1000", ""),
        ('data.a\n"x\ny"', "line 2: data: the data a has to be 1 to 1000", ""),
        # The rows of JSON.
        ('{"data": "a=b"}', "line 1: data: it has to be an object, not text", '{"owner": "alice"}'),
        ('{"data": {"a": 1}}', "line 1: data: the data a has to be 1 to 1000", ""),
        ('{"data": {"a": "b", "a": "c"}}', "line 1: 'a' comes twice", "one of"),
        ('{"data": {"A": "b"}}', "line 1: data: data cannot be called 'A'", ""),
        ('{"data.a": "b"}', "line 1: unknown field 'data.a'", "the fields are"),
        (
            json.dumps({"data": {f"a{number}": "x" for number in range(101)}}),
            "line 1: data: there are 101 data, at most 100 are taken",
            "",
        ),
        ('{"subject": "CN=a"}\n{"subject": ', "line 2: this is not JSON", "one object a line"),
        ('{"subject": "CN=a"}\n"CN=b"', "line 2: this is no JSON object", "one object a line"),
        ('{"a": ' * 100_000, "line 1: this is not JSON", ""),
        ('{"subject": %s}' % ("1" * 5000), "line 1: this is not JSON", ""),
        ('{"label": "a", "label": "b"}', "line 1: 'label' comes twice", "one of"),
        ('{"subjct": "CN=a"}', "line 1: unknown field 'subjct'", "the fields are"),
        ('{"id": "7"}', "line 1: unknown field 'id'", "earlier batch"),
        ('{"subject": 7}', "line 1: subject: it has to be text, not a number", ""),
        ('{"subject": "\\ud800"}', "line 1: subject: ", ""),
        ('{"label": true}', "line 1: label: it has to be text, not true or false", ""),
        ('{"expires": 3600}', "line 1: expires: it has to be text, not a number", ""),
        ('{"label": {}}', "line 1: label: it has to be text, not an object", ""),
        (
            '{"subject": "CN=a", "sans": "a.example"}',
            "line 1: sans: it has to be a list of texts, not text",
            '["dns:host.example"]',
        ),
        ('{"subject": "CN=a", "sans": ["a", null]}', "line 1: sans: it has to be text", ""),
    ],
)
def test_what_is_wrong_is_told_by_line_and_field(content, message, hint):
    with pytest.raises(UsageError) as caught:
        read(content)
    assert message in caught.value.message
    assert "\n" not in caught.value.message
    assert hint in caught.value.hint


def test_all_that_is_wrong_is_told_at_once_as_far_as_people_read():
    rows = "".join(f"{'b' if n % 2 else 'CN=a'}\n" for n in range(16))
    with pytest.raises(UsageError) as caught:
        read(f"subject\n{rows}")
    told = caught.value.message
    assert [f"line {n}: " in told for n in (3, 5, 7, 9, 11, 13)] == [True] * 5 + [False]
    assert told.endswith("; and 3 more")
    assert "no challenge was made" in caught.value.hint


def test_there_is_a_bound(monkeypatch):
    monkeypatch.setattr(challenge_batch, "MAX_ROWS", 2)
    assert len(read("label\na\nb\n").orders) == 2
    with pytest.raises(UsageError, match="3 rows, at most 2"):
        read("label\na\nb\nc\n")


def test_how_far_it_is_can_be_shown():
    done = []
    challenge_batch.read(CSV.encode(), DEFAULTS, done.append)
    assert sum(done) == 2


# --- the answer -----------------------------------------------------------------------------------


def minted(world, batch):
    return mint(world.challenges, batch.orders, door=Door.COMMAND_LINE, by="alice", now=world.now)


def test_csv_comes_back_with_two_more_columns(world):
    batch = read(CSV)
    made = minted(world, batch)
    rows = list(csv.reader(io.StringIO("\n".join(challenge_batch.lines(batch, made)))))
    assert rows[0] == ["subject", "sans", "expires", "label", "challenge", "id"]
    assert [row[-2:] for row in rows[1:]] == [[one.secret, str(one.id)] for one in made]
    assert rows[1][:-2] == ["CN=dev1,O=Example", "dns:a.example;ip:192.0.2.1", "2h", "blue"]


@pytest.mark.parametrize(("text", "as_json"), [(JSON, False), (CSV, True)])
def test_json_comes_back_with_two_more_fields(world, text, as_json):
    batch = read(text)
    made = minted(world, batch)
    rows = [json.loads(line) for line in challenge_batch.lines(batch, made, as_json=as_json)]
    assert [(row["challenge"], row["id"]) for row in rows] == [(m.secret, str(m.id)) for m in made]
    assert rows[0]["subject"] == "CN=dev1,O=Example"
    assert ("expires" in rows[1]) is as_json


def test_what_is_minted_is_what_was_ordered(world):
    batch = read(CSV)
    for one, order in zip(minted(world, batch), batch.orders, strict=True):
        stored = world.store.challenge(one.id)
        assert (stored.subject, stored.sans, stored.label) == (
            order.subject,
            order.sans,
            order.label,
        )
        assert stored.expires_at == one.expires_at == world.now + order.lifetime
        assert one.secret not in repr(one)


# --- anything at all ------------------------------------------------------------------------------

_JUNK = st.one_of(
    st.binary(max_size=300),
    st.text(max_size=300).map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.text(alphabet="{}[]\":,;\\ \t\r\n\0='CNOsubjectan.", max_size=300).map(str.encode),
)
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
_OBJECTS = st.lists(
    st.dictionaries(st.sampled_from(["subject", "sans", "expires", "label", "x"]), _VALUES),
    max_size=4,
).map(lambda rows: "\n".join(map(json.dumps, rows)).encode())
_CELLS = st.lists(
    st.lists(st.text(max_size=12) | st.sampled_from(["CN=a", "dns:a", "1h"]), max_size=4),
    max_size=4,
).map(lambda rows: _as_csv([["subject", "sans", "expires", "label"], *rows]).encode("utf-8"))


def _as_csv(rows):
    out = io.StringIO()
    csv.writer(out).writerows(rows)
    return out.getvalue()


@given(st.one_of(_JUNK, _OBJECTS, _CELLS))
@example(b"\x00")
@example(b'{"subject": "CN=\\u0000"}')
@example(b'{"subject": "!\\n"}')
@example(b"\xef\xbb\xbf\xef\xbb\xbfsubject\nCN=a")
@example(b'{"subject": "CN=a", "sans": ["ip:"]}')
@example(b'{"subject": "CN=a", "sans": ["uri:http://[", "email:@"]}')
def test_anything_is_read_or_refused_by_line(content):
    """No octets end in any other way than good orders or one error."""
    batch, error = attempt(content)
    if error is not None:
        assert error.message.startswith(("line ", "there is no row"))
        assert "\n" not in error.message
        return
    assert len(batch.orders) == len(batch.given) > 0
    for order in batch.orders:
        # What is stored can be compared with a request later.
        assert order.subject is None or Name.parse(order.subject)
        assert all(parse_san(name) for name in order.sans)


def attempt(content):
    try:
        return read(content), None
    except UsageError as error:
        return None, error
