"""A world for every test; the empty database is made once."""

from __future__ import annotations

import pytest

from enrolment.world import World
from scepkit.store import Store


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory):
    path = tmp_path_factory.mktemp("empty") / "scep.db"
    Store.open(f"sqlite:///{path}").close()
    return path


@pytest.fixture
def world(tmp_path, empty_database):
    world = World(tmp_path, empty_database)
    yield world
    world.store.close()
