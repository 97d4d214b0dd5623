"""What every test has: keys made once, both ends joined in memory, hypothesis profiles.

Helpers beside this file are imported by their names: `from pair import Pair`.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

sys.path.insert(0, str(Path(__file__).parent))

pytest_plugins = ["pytester", "conformance", "compatibility", "leaks"]

_SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
settings.register_profile("default", max_examples=50, deadline=None, suppress_health_check=_SLOW)
settings.register_profile("ci", settings.get_profile("default"), max_examples=200)
settings.register_profile("thorough", settings.get_profile("default"), max_examples=2000)
settings.load_profile(
    os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "default")
)


@pytest.fixture(scope="session")
def ca():
    """Return the CA: an RSA key and a certificate with every keyUsage that SCEP needs."""
    import keys

    return keys.ca()


@pytest.fixture(scope="session")
def ra():
    """Return the RA, certified by the CA."""
    import keys

    return keys.ra()


@pytest.fixture(scope="session")
def device():
    """Return a device with a self-signed certificate."""
    import keys

    return keys.device()


@pytest.fixture
def pair():
    """Return a client and a server that grants everything, joined in memory."""
    from pair import Pair

    return Pair()


@pytest.fixture
def openssl(tmp_path):
    """Return the openssl command as a judge."""
    from openssl import OpenSSL

    return OpenSSL(tmp_path)
