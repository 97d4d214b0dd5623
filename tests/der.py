"""A small DER toolkit of the tests' own, so that the code under test is not its own judge."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

# Universal types with a primitive form that BER may cut into pieces (X.690 section 8).
STRINGS = frozenset({0x04, 0x0C, 0x12, 0x13, 0x14, 0x16, 0x19, 0x1A, 0x1B, 0x1C, 0x1E})


def tlv(tag: int, *contents: bytes) -> bytes:
    """Write one element."""
    content = b"".join(contents)
    return bytes([tag]) + _length(len(content)) + content


def _length(size: int) -> bytes:
    if size < 0x80:
        return bytes([size])
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([0x80 | len(octets)]) + octets


def seq(*contents: bytes) -> bytes:
    return tlv(0x30, *contents)


def set_(*contents: bytes) -> bytes:
    return tlv(0x31, *contents)


def octets(content: bytes) -> bytes:
    return tlv(0x04, content)


def bits(content: bytes) -> bytes:
    return tlv(0x03, b"\x00", content)


def printable(text: str) -> bytes:
    return tlv(0x13, text.encode("ascii"))


def utf8(text: str) -> bytes:
    return tlv(0x0C, text.encode())


def integer(value: int) -> bytes:
    return tlv(
        0x02, value.to_bytes((value + (value < 0)).bit_length() // 8 + 1, "big", signed=True)
    )


NULL = tlv(0x05)


def oid(dotted: str) -> bytes:
    first, second, *rest = (int(arc) for arc in dotted.split("."))
    return tlv(0x06, b"".join(_base128(arc) for arc in (40 * first + second, *rest)))


def _base128(arc: int) -> bytes:
    out = [arc & 0x7F]
    while arc := arc >> 7:
        out.append(0x80 | arc & 0x7F)
    return bytes(reversed(out))


def algorithm(dotted: str, parameters: bytes = NULL) -> bytes:
    return seq(oid(dotted), parameters)


@dataclass
class Node:
    """An element as a tree: `children` of a constructed one, `content` of a primitive one."""

    tag: int
    content: bytes = b""
    children: list[Node] = field(default_factory=list)

    @property
    def constructed(self) -> bool:
        return bool(self.tag & 0x20)

    def __getitem__(self, index: int) -> Node:
        return self.children[index]

    def der(self) -> bytes:
        if self.constructed:
            return tlv(self.tag, *(child.der() for child in self.children))
        return tlv(self.tag, self.content)

    def walk(self):
        """Yield this node and all below it."""
        yield self
        for child in self.children:
            yield from child.walk()


def parse(data: bytes) -> Node:
    """Read one element of definite lengths and single-octet tags; nothing may follow."""
    node, end = _node(data, 0)
    assert end == len(data), "bytes follow the element"
    return node


def _node(data: bytes, start: int) -> tuple[Node, int]:
    tag, size, position = data[start], data[start + 1], start + 2
    if size >= 0x80:
        end = position + (size & 0x7F)
        size, position = int.from_bytes(data[position:end], "big"), end
    end = position + size
    assert end <= len(data), "the element is cut off"
    if not tag & 0x20:
        return Node(tag, data[position:end]), end
    children = []
    while position < end:
        child, position = _node(data, position)
        children.append(child)
    assert position == end, "the last child is longer than its parent"
    return Node(tag, children=children), end


def ber(node: Node, random) -> bytes:
    """Write the node as BER with the freedom that X.690 gives: `random` is a `random.Random`."""
    if node.constructed:
        return _loose(node.tag, [ber(child, random) for child in node.children], random)
    if node.tag in STRINGS and random.random() < 0.5:
        return _loose(node.tag | 0x20, _pieces(node.tag, node.content, random), random)
    return bytes([node.tag]) + _long_length(len(node.content), random) + node.content


def _loose(tag: int, contents: list[bytes], random) -> bytes:
    body = b"".join(contents)
    if random.random() < 0.5:
        return bytes([tag, 0x80]) + body + b"\x00\x00"
    return bytes([tag]) + _long_length(len(body), random) + body


def _long_length(size: int, random) -> bytes:
    if random.random() < 0.7:
        return _length(size)
    octets_ = size.to_bytes((size.bit_length() + 7) // 8 + random.randint(0, 3), "big") or b"\x00"
    return bytes([0x80 | len(octets_)]) + octets_


def _pieces(tag: int, content: bytes, random) -> list[bytes]:
    if not content:
        return []
    cuts = sorted(random.randint(0, len(content)) for _ in range(random.randint(0, 3)))
    edges = [0, *cuts, len(content)]
    return [
        ber(Node(tag, content[a:b]), random) if random.random() < 0.3 else tlv(tag, content[a:b])
        for a, b in pairwise(edges)
    ]
