"""The tests of the API need what it is made of: the extra `api`."""

from __future__ import annotations

from importlib.util import find_spec

if find_spec("fastapi") is None:
    collect_ignore_glob = ["test_*.py"]
else:
    from api.desk import api, directory, logged, made, open_api, token

    __all__ = ["api", "directory", "logged", "made", "open_api", "token"]
