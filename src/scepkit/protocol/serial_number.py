"""Serial numbers as text, the same in every command, log line and answer of ours.

Each octet has two hexadecimal digits, as OpenSSL and browsers show them, so that the text of one
program is found in the output of another.
"""

from __future__ import annotations


def show(serial: int) -> str:
    """Return a serial number in hexadecimal, with an even number of digits.

    Args:
        serial: what a certificate has (RFC 5280 section 4.1.2.2); devices make negative ones too.
    """
    digits = f"{abs(serial):x}"
    sign = "-" if serial < 0 else ""
    return f"{sign}{digits.zfill(len(digits) + len(digits) % 2)}"


def read(text: str) -> int:
    """Read a serial number: hexadecimal digits, with or without colons, as programs show it.

    Raises:
        ValueError: it is none.
    """
    return int(text.replace(":", "").strip(), 16)
