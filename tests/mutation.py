"""hypothesis strategies that break things: octets, and elements of the ASN.1 tree."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy

from hypothesis import strategies as st

import der
from der import Node

# Contents that parsers have stumbled over.
_ODD = [
    *(b"", b"\x00", b"\x80", b"\xff", b"\xff" * 9, b"\x00\x01", b"\x7f" * 33, b"0", b"-1", b"19"),
    *(b"\xed\xa0\x80", b"\xd8\x00", b"\xc0\x80", b"000000000000Z", b"99991231235959Z"),
    *(b"\x2a\x86\x48", b"\x86\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f", b"\x30\x80", b"\x05\x00"),
]
_TAGS = [
    *(0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x0A, 0x0C, 0x13, 0x14, 0x16, 0x17, 0x18, 0x1C, 0x1E),
    *(0x30, 0x31, 0x24, 0x80, 0x81, 0x82, 0xA0, 0xA1, 0xA2, 0xA3, 0x00, 0x1F, 0x3F, 0xBF, 0xFF),
]


def octets(seeds: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """Return seeds with bits flipped, cut, lengthened, repeated and spliced together."""

    @st.composite
    def strategy(draw):
        data = bytearray(draw(st.sampled_from(seeds)))
        for _ in range(draw(st.integers(1, 4))):
            at = draw(st.integers(0, len(data)))
            match draw(
                st.sampled_from(["flip", "set", "cut", "drop", "insert", "repeat", "splice"])
            ):
                case "flip" if at < len(data):
                    data[at] ^= 1 << draw(st.integers(0, 7))
                case "set" if at < len(data):
                    data[at] = draw(st.sampled_from([0, 1, 0x1F, 0x7F, 0x80, 0x81, 0x84, 0xFF]))
                case "cut":
                    del data[at:]
                case "drop":
                    del data[at : at + draw(st.integers(1, 40))]
                case "insert":
                    data[at:at] = draw(st.binary(max_size=20))
                case "repeat":
                    data[at:at] = data[at : at + draw(st.integers(1, 200))]
                case "splice":
                    other = draw(st.sampled_from(seeds))
                    data[at:] = other[draw(st.integers(0, len(other))) :]
        return bytes(data)

    return strategy()


def trees(seeds: Sequence[bytes], max_changes: int = 3) -> st.SearchStrategy[bytes]:
    """Return seeds with elements replaced, dropped, repeated, retagged; all lengths are right."""
    parsed = [der.parse(seed) for seed in seeds]
    parts = [node for tree in parsed for node in tree.walk()]

    @st.composite
    def strategy(draw):
        tree = deepcopy(draw(st.sampled_from(parsed)))
        for _ in range(draw(st.integers(1, max_changes))):
            _change(draw, tree, parts)
        return tree.der()

    return strategy()


def _change(draw: Callable, tree: Node, parts: list[Node]) -> None:
    nodes = list(tree.walk())
    node = nodes[draw(st.integers(0, len(nodes) - 1))]
    if node.constructed and node.children:
        _change_children(draw, node, parts)
    else:
        _change_content(draw, node)


def _change_children(draw: Callable, node: Node, parts: list[Node]) -> None:
    at = draw(st.integers(0, len(node.children) - 1))
    match draw(st.sampled_from(["drop", "repeat", "swap", "replace", "tag", "flatten"])):
        case "drop":
            del node.children[at]
        case "repeat":
            node.children.insert(at, deepcopy(node.children[at]))
        case "swap":
            node.children.append(node.children.pop(at))
        case "replace":
            node.children[at] = deepcopy(parts[draw(st.integers(0, len(parts) - 1))])
        case "tag":
            node.tag = draw(st.sampled_from(_TAGS))
        case "flatten":
            node.content, node.children, node.tag = node.der(), [], 0x04


def _change_content(draw: Callable, node: Node) -> None:
    match draw(st.sampled_from(["odd", "random", "tag", "longer", "shorter", "bit"])):
        case "odd":
            node.content = draw(st.sampled_from(_ODD))
        case "random":
            node.content = draw(st.binary(max_size=40))
        case "tag":
            node.tag = draw(st.sampled_from(_TAGS))
        case "longer":
            node.content += draw(st.binary(min_size=1, max_size=4))
        case "shorter":
            node.content = node.content[:-1]
        case "bit" if node.content:
            changed = bytearray(node.content)
            changed[draw(st.integers(0, len(changed) - 1))] ^= 1 << draw(st.integers(0, 7))
            node.content = bytes(changed)


def anything(seeds: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """Return what a parser has to survive: rubbish, damaged octets, damaged trees."""
    definite = [seed for seed in seeds if _definite(seed)]
    kinds = [st.binary(max_size=300), octets(seeds)]
    if definite:
        kinds += [trees(definite), trees(definite)]
    return st.one_of(kinds)


def _definite(seed: bytes) -> bool:
    try:
        return der.parse(seed).der() == seed
    except (AssertionError, IndexError):
        return False
