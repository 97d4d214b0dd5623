"""OCSP responses that are signed before they are asked for: the thread that has it done."""

from __future__ import annotations

import threading
from types import SimpleNamespace

from scepkit.errors import StoreError
from scepkit.server.background import ocsp_presigning as ahead
from scepkit.server.background.ocsp_presigning import OCSPPresigner
from waiting import PATIENCE


class Service:
    """Counts how often it is asked to sign ahead, and may be without its database."""

    def __init__(self, *, faults=0):
        self.faults = faults
        self.asked = threading.Semaphore(0)

    def sign_ahead(self, within, stopped):
        self.asked.release()
        if self.faults:
            self.faults -= 1
            raise StoreError("the database is away")
        return 1


def catalog_of(*services):
    served = {str(number): SimpleNamespace(ocsp=one) for number, one in enumerate(services)}
    return SimpleNamespace(served=served)


def test_endpoints_of_one_ca_share_a_service():
    """Each service is asked once, however many endpoints have it."""
    one, other = Service(), Service()
    assert OCSPPresigner(catalog_of(one, one, other)).look() == 2


def test_a_dead_database_does_not_end_it(monkeypatch):
    """What cannot be signed ahead is signed when somebody asks; the thread goes on."""
    monkeypatch.setattr(ahead, "LOOK_SECONDS", 0.001)
    service = Service(faults=2)
    signing = OCSPPresigner(catalog_of(service))
    signing.start()
    try:
        for _ in range(4):
            assert service.asked.acquire(timeout=PATIENCE)
    finally:
        signing.close()
