"""The rules of a profile on alternative names, where a request has none."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from scepkit.ca.profiles.names import NameRule, NameRules
from scepkit.ca.profiles.profile import SAN_TYPES
from scepkit.ca.profiles.templates import Template
from scepkit.errors import BadRequest
from scepkit.protocol.distinguished_name import Name
from scepkit.protocol.general_name import GeneralName, parse_san

ADDED = Template.of("made.example")
SUBJECTS = ["CN=device", "CN=device,emailAddress=a@example.com", "emailAddress=no address"]
RULES = st.builds(
    NameRule,
    least=st.integers(0, 1),
    most=st.none() | st.integers(0, 2),
    suffixes=st.sampled_from([(), ("example",), ("other",)]),
    wildcards=st.booleans(),
    added=st.sampled_from([(), (), (ADDED,)]),
)


def outcome(rules, subject, values):
    try:
        return rules.certified((), subject, values)
    except BadRequest as error:
        return error.message, error.rule, error.attribute


BELOW = NameRule(suffixes=("example",))
ADDING = NameRule(added=(ADDED,))


@example(SAN_TYPES, {"email": BELOW}, SUBJECTS[1], None)
@example(SAN_TYPES, {"dns": ADDING}, SUBJECTS[0], {"endpoint": "default"})
@given(
    st.sets(st.sampled_from(sorted(SAN_TYPES))),
    st.dictionaries(st.sampled_from(["dns", "email", "uri"]), RULES, max_size=2),
    st.sampled_from(SUBJECTS),
    st.none() | st.just({"endpoint": "default"}),
)
def test_no_names_are_judged_as_some_are(kinds, rules, subject, values):
    """What is seen to follow the rules at once is what follows them one by one."""
    names = NameRules("made", frozenset(kinds), rules)
    one_by_one = replace(names)
    one_by_one.__dict__["_take_none"] = False
    name = Name.parse(subject)
    assert outcome(names, name, values) == outcome(one_by_one, name, values)


def test_a_name_that_is_there_is_judged_though_none_is_needed():
    names = NameRules("made", SAN_TYPES, {"dns": BELOW})
    subject = Name.parse("CN=device")
    assert names.certified((), subject, None) == ()
    with pytest.raises(BadRequest):
        names.certified((GeneralName.of(parse_san("dns:a.other")),), subject, None)
