"""The stand-in of Intune that operators have, running on 127.0.0.1 while a test needs it.

    with Running() as intune:
        client = IntuneClient(intune.registration())

Nothing here was tried against the live service.
"""

from __future__ import annotations

import asyncio
import importlib.util
import sys
import threading
from pathlib import Path

from scepkit.server.intune.registration import Registration

_PATH = Path(__file__).parents[2] / "examples" / "intune_stand_in.py"


def _load():
    name = "intune_stand_in"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, _PATH)
        module = sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return sys.modules[name]


program = _load()


class Running:
    """A stand-in that runs, in a thread of its own, while the `with` block does.

    Args:
        how: fields of the program's `StandIn`.
    """

    def __init__(self, **how):
        self.it = program.StandIn(**how)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)

    def __enter__(self):
        self._thread.start()
        self._runner = self._run(program.start(self.it))
        return self

    def __exit__(self, *error):
        self._loop.call_soon_threadsafe(self.it.stopping.set)
        self._run(self._runner.cleanup())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def forget(self):
        """Begin anew, at the same URL."""
        fresh = program.StandIn(url=self.it.url, key=self.it.key)
        for name in program.StandIn.__slots__:
            if name != "stopping":
                setattr(self.it, name, getattr(fresh, name))

    @property
    def url(self):
        return self.it.url

    def fault(self, operation, what, times=1):
        self.it.faults.add(operation, what, times)

    def asked(self, *operations):
        """Return what was asked: all of it, or that of these operations."""
        return [one for one in self.it.log if not operations or one["operation"] in operations]

    def registration(self, **how):
        known = {
            "name": "stand-in",
            "tenant": self.it.tenant,
            "client_id": self.it.client_id,
            "secret": self.it.secret,
            "authority_url": f"{self.url}/login",
            "graph_url": f"{self.url}/graph",
            "resource_url": f"{self.url}/resource/",
            "seconds": 30,
        }
        return Registration(**known | how)
