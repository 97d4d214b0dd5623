"""`import scepkit`: what it offers, and what it must not load."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys

import pytest

import scepkit
import scepkit.errors
import scepkit.public_api

HEAVY = {
    *("aiohttp", "asyncio", "urllib3", "typer", "rich"),
    *("sqlalchemy", "httptools", "uvloop", "pydantic", "structlog"),
}


def loaded_by(statement):
    code = f"import sys; {statement}; print(*{{m.partition('.')[0] for m in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_everything_is_there_and_in_order():
    assert len(set(scepkit.__all__)) == len(scepkit.__all__)
    assert all(hasattr(scepkit, name) for name in scepkit.__all__)
    assert set(scepkit.__all__) <= set(dir(scepkit))
    public = {n for n in vars(scepkit.public_api) if not n.startswith("_")}
    assert public == set(scepkit.__all__)


def test_everything_comes_with_a_star():
    names = {}
    exec("from scepkit import *", names)
    assert names.keys() - {"__builtins__"} == set(scepkit.__all__)


@pytest.mark.parametrize("name", ["nothing", "_hidden", "__wrapped__"])
def test_nothing_else_is_there(name):
    with pytest.raises(AttributeError, match=f"module 'scepkit' has no attribute '{name}'"):
        getattr(scepkit, name)
    with pytest.raises(ImportError):
        exec(f"from scepkit import {name}")


def test_the_names_are_loaded_when_they_are_asked_for():
    assert "cryptography" not in loaded_by("import scepkit")
    assert "cryptography" in loaded_by("from scepkit import Client")


def test_the_command_line_starts_without_them():
    """`--help` is asked for on small devices, too."""
    loaded = loaded_by("from scepkit.cli import main; main(['enroll', '--help'])")
    assert "typer" in loaded
    assert not loaded & (HEAVY - {"typer"} | {"cryptography"})


def test_every_error_is_there():
    errors = {
        n
        for n, v in vars(scepkit.errors).items()
        if isinstance(v, type) and issubclass(v, Exception)
    }
    assert errors <= set(scepkit.__all__)


def functions(where, kind):
    """Yield the public functions, methods and properties of a class or a module, with names."""
    for name, value in vars(kind).items():
        found = value.fget if isinstance(value, property) else getattr(value, "__func__", value)
        if not name.startswith("_") and inspect.isfunction(found):
            yield f"{where}.{name}", found


def documented():
    for name in scepkit.__all__:
        value = getattr(scepkit, name)
        if inspect.ismodule(value):
            yield name, value
            own = getattr(value, "__all__", ())
            yield from (
                (n, f)
                for n, f in functions(name, value)
                if n.partition(".")[2] in own or f.__module__ == value.__name__
            )
        elif inspect.isclass(value):
            yield name, value
            yield from functions(name, value)
        elif inspect.isfunction(value):
            yield name, value


@pytest.mark.parametrize(("name", "value"), [pytest.param(*one, id=one[0]) for one in documented()])
def test_every_public_name_says_what_it_does(name, value):
    """In a sentence; a function's begins with what it does: Return, Ask, Write."""
    first = (value.__doc__ or "").split("\n\n")[0].strip()
    assert first.endswith((".", ":")), name
    if inspect.isfunction(value):
        verb = first.split()[0]
        assert re.fullmatch("[A-Z][a-z]+", verb), first
        assert verb not in {"A", "An", "The", "This", "It", "Its", "What", "Whether", "How"}, first
        assert not verb.endswith("s") or verb.endswith("ss"), first


def test_nothing_heavy_is_loaded():
    assert not loaded_by("import scepkit; scepkit.Client") & HEAVY


def test_the_transport_loads_urllib3_and_nothing_of_the_server():
    loaded = loaded_by("import scepkit.client.http") & HEAVY
    # urllib3 loads asyncio itself.
    assert loaded - {"asyncio"} == {"urllib3"}


def test_the_transport_for_asyncio_does_without_urllib3():
    loaded = loaded_by("import scepkit.client.aio_http") & HEAVY
    assert loaded == {"aiohttp", "asyncio"}


def test_an_extra_that_is_missing_is_named_in_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    monkeypatch.delitem(sys.modules, "scepkit.client.aio_http", raising=False)
    with pytest.raises(scepkit.SettingsError, match="aiohttp is not installed") as caught:
        scepkit.AsyncClient("http://ca.example/scep")
    assert "\n" not in caught.value.message
    assert caught.value.hint == "pip install 'scepkit[async]'"
    monkeypatch.undo()
