"""`import scepkit`: what it offers, and what it must not load."""

from __future__ import annotations

import subprocess
import sys

import scepkit
import scepkit.errors

HEAVY = {"urllib3", "typer", "rich", "sqlalchemy", "starlette", "uvicorn", "pydantic", "structlog"}


def loaded_by(statement):
    code = f"import sys; {statement}; print(*{{m.partition('.')[0] for m in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_everything_is_there_and_in_order():
    assert len(set(scepkit.__all__)) == len(scepkit.__all__)
    assert all(hasattr(scepkit, name) for name in scepkit.__all__)
    public = {n for n in vars(scepkit) if not n.startswith("_")}
    submodules = {
        *("ca", "cli", "client", "enrolment", "errors", "keys", "operations", "protocol"),
        *("server", "services", "store"),
    }
    assert public - submodules == set(scepkit.__all__)


def test_every_error_is_there():
    errors = {
        n
        for n, v in vars(scepkit.errors).items()
        if isinstance(v, type) and issubclass(v, Exception)
    }
    assert errors <= set(scepkit.__all__)


def test_nothing_heavy_is_loaded():
    assert not loaded_by("import scepkit") & HEAVY


def test_the_transport_loads_urllib3_and_nothing_of_the_server():
    loaded = loaded_by("import scepkit.client.http") & HEAVY
    assert loaded == {"urllib3"}
