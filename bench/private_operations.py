"""Private-key operations of an enrolment: what they cost on all cores of this machine at once.

python bench/private_operations.py single       a process of `PrivateOperations`
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from typing import Self

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from scepkit.server.web.executors import cores


class PrivateOperations:
    """A process for each core, that works for as long as it is asked to.

    Args:
        layout: the kinds of keys.
    """

    def __init__(self, layout: str) -> None:
        self._processes = [
            subprocess.Popen(
                [sys.executable, __file__, layout],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for _ in range(cores())
        ]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for one in self._processes:
            one.communicate()

    def measure(self, seconds: float) -> float:
        """Return the CPU seconds that the operations of one enrolment take."""
        for one in self._processes:
            assert one.stdin is not None
            one.stdin.write(f"{seconds}\n")
            one.stdin.flush()
        cpu, count = 0.0, 0
        for one in self._processes:
            assert one.stdout is not None
            spent, times = one.stdout.readline().split()
            cpu += float(spent)
            count += int(times)
        return cpu / count


def operations(layout: str) -> Callable[[], None]:
    """Return what decrypts a request, signs a certificate and signs a reply."""
    ra = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    encrypted = ra.public_key().encrypt(b"0123456789abcdef", padding.PKCS1v15())
    tbs, attributes = bytes(700), bytes(200)
    sha256, pkcs1 = hashes.SHA256(), padding.PKCS1v15()
    issue: Callable[[], bytes]
    if layout == "ec":
        curve = ec.generate_private_key(ec.SECP256R1())

        def issue() -> bytes:
            return curve.sign(tbs, ec.ECDSA(sha256))
    else:
        size = 3072 if layout == "default" else 2048
        ca = rsa.generate_private_key(public_exponent=65537, key_size=size)

        def issue() -> bytes:
            return ca.sign(tbs, pkcs1, sha256)

    def all_three() -> None:
        ra.decrypt(encrypted, pkcs1)
        issue()
        ra.sign(attributes, pkcs1, sha256)

    return all_three


def main() -> None:
    work = operations(sys.argv[1])
    for line in sys.stdin:
        begun, end, times = time.process_time(), time.perf_counter() + float(line), 0
        while time.perf_counter() < end:
            work()
            times += 1
        print(time.process_time() - begun, times, flush=True)


if __name__ == "__main__":
    main()
