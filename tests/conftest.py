"""What every test has: keys made once, both ends joined in memory, long forms and short ones.

Helpers beside this file are imported by their names: `from pair import Pair`.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

sys.path.insert(0, str(Path(__file__).parent))

pytest_plugins = ["pytester", "conformance", "compatibility", "leaks"]

_SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
settings.register_profile("short", max_examples=25, deadline=None, suppress_health_check=_SLOW)
settings.register_profile("long", settings.get_profile("short"), max_examples=100)
settings.register_profile("thorough", settings.get_profile("short"), max_examples=2000)


def pytest_addoption(parser):
    parser.addoption(
        "--long",
        action="store_true",
        help="run the long forms too: tests marked so, and four times as many random examples",
    )


def pytest_xdist_auto_num_workers():
    """Run two processes a core: a third of the time tests wait, for the network or a clock."""
    return 2 * (os.cpu_count() or 1)


def pytest_configure(config):
    # A shell has what it starts in its background ignore Ctrl-C, and so would all that tests start.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    form = "long" if config.getoption("--long") else "short"
    settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or form)


@pytest.hookimpl(trylast=True)  # after the plugins that look at what all tests prove
def pytest_collection_modifyitems(config, items):
    if config.getoption("--long"):
        return
    if long := [item for item in items if item.get_closest_marker("long")]:
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if item not in long]


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
