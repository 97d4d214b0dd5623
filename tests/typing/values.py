"""What is made for each request stays as it was made: mypy reads this file, and nobody runs it.

An assignment that passed would leave an unused `ignore`, and that breaks the build here.
"""

from dataclasses import replace
from typing import assert_type

from scepkit.ca.issuer import IssuedCertificate
from scepkit.store.values import Issuance


def nothing_is_assigned(issuance: Issuance, certificate: IssuedCertificate) -> None:
    issuance.peer = "192.0.2.7"  # type: ignore[misc]
    issuance.serial = 1  # type: ignore[misc]
    certificate.der = b""  # type: ignore[misc]


def a_copy_may_differ(issuance: Issuance) -> None:
    assert_type(replace(issuance, peer="192.0.2.7"), Issuance)
