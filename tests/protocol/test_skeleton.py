"""Skeletons write what `der.element` writes, element by element."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scepkit.protocol.asn1 import der
from scepkit.protocol.asn1.skeleton import Skeleton

SIZES = st.sampled_from([0, 1, 0x7D, 0x7F, 0x80, 0xFD, 0xFF, 0x100, 0xFFFF, 0x10000, 0x1000000])
OCTETS = st.binary(max_size=4) | SIZES.map(bytes)
TAGS = st.sampled_from([0x02, 0x03, 0x04, 0x30, 0x31, 0x80, 0xA0, 0xFE])
ELEMENTS = st.recursive(
    st.tuples(TAGS),
    lambda inside: st.tuples(TAGS, *[OCTETS | st.just(...) | inside] * 3),
    max_leaves=12,
)


def values_of(element, data):
    """Return the element one by one, and the values that were drawn for its gaps."""
    tag, *parts = element
    octets, values = b"", []
    for part in parts:
        if part is ...:
            values.append(data.draw(OCTETS))
            octets += values[-1]
        elif isinstance(part, tuple):
            inside, more = values_of(part, data)
            octets, values = octets + inside, values + more
        else:
            octets += part
    return der.element(tag, octets), values


@given(ELEMENTS, st.data())
def test_a_skeleton_writes_what_its_elements_are_one_by_one(element, data):
    expected, values = values_of(element, data)
    skeleton = Skeleton(*element)
    assert skeleton.write(*values) == skeleton.write(*values) == expected


@pytest.mark.parametrize("values", [(), (b"a", b"b", b"c")])
def test_a_skeleton_takes_as_many_values_as_it_has_gaps(values):
    with pytest.raises(TypeError):
        Skeleton(0x30, ..., (0x04, ...)).write(*values)


def test_two_threads_make_the_function_of_one_skeleton():
    skeleton, both = Skeleton(0x30, (0x04, ...)), Barrier(2)

    def write():
        both.wait(10)
        return skeleton.write(b"x")

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(2) as threads:
            first, second = threads.submit(write), threads.submit(write)
            assert first.result() == second.result() == der.sequence(der.octet_string(b"x"))
    finally:
        sys.setswitchinterval(before)
