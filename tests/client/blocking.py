"""The clients and transports of asyncio, called like the others, so that both pass the same tests.

client = Blocking(lambda: AsyncClient(url))
client.get_capabilities()
"""

from __future__ import annotations

import asyncio
import inspect


class Blocking:
    """Runs each method of an object to its end, on an event loop of the object's own.

    Args:
        make: makes the object.
        runner: of another one, to share its event loop.
    """

    def __init__(self, make, runner=None):
        self.runner = runner or asyncio.Runner()
        self.made = make()

    def __getattr__(self, name):
        found = getattr(self.made, name)
        if not inspect.iscoroutinefunction(found):
            return found
        return lambda *args, **kwargs: self.runner.run(found(*args, **kwargs))

    def close(self):
        self.runner.run(self.made.close())
        self.runner.close()
