"""kill -9 between every two steps of a request that a webhook judges: nothing is lost or doubled.

The service spends a challenge with the first delivery that has it, and knows that one again by its
id; any other is refused. So a certificate at the end shows that the same delivery was asked, or
that its yes was found.
"""

from __future__ import annotations

import contextlib
import http.client
import signal

import pytest

from enrolment import devices
from forms import short_and_long
from scepkit.protocol.scep.messages import Failure, Success
from scepkit.store import Store
from server.webhook_service import SECRET, Service
from waiting import PATIENCE

# Ends the process before or after a call, the first time that there is one.
_KILLING = """\
import asyncio, functools, inspect, os, signal
from {module} import {name} as owner

inner = owner.{method}

def end():
    os.kill(os.getpid(), signal.SIGKILL)

if {is_before}:
    def outer(*args, **how):
        end()
elif inspect.iscoroutinefunction(inner):
    async def outer(*args, **how):
        await inner(*args, **how)
        end()
else:
    def outer(*args, **how):
        inner(*args, **how)
        end()

owner.{method} = outer
"""

# In their order; the yes is stored before the fourth one.
STEPS = {
    "before the question": ("scepkit.server.webhooks.posting", "Poster", "post", True),
    "with the answer": ("scepkit.server.webhooks.posting", "Poster", "post", False),
    "before the yes is stored": ("scepkit.store", "Store", "assent", True),
    "with the yes": ("scepkit.enrolment.consultation", "Consultation", "_judged", True),
    "before the signature": ("scepkit.ca.authority", "Authority", "certify", True),
    "with the certificate": ("scepkit.ca.authority", "Authority", "certify", False),
    "before the commit": ("scepkit.store", "Store", "record", True),
    "after the commit": ("scepkit.server.web.worker_pool", "WorkerPool", "go_on", False),
}
USUAL = {"with the answer", "after the commit"}
STORED = [*STEPS].index("with the yes")

RULE = (
    '[[endpoint.default.authorization]]\nkind = "webhook"\nname = "mdm"\ndialect = "scepkit"\n'
    'secret_file = "hook.key"\n'
)


class Inventory:
    """A service that lets each challenge serve one delivery."""

    def __init__(self):
        self.spent = {}

    def __call__(self, asked):
        is_its = self.spent.setdefault(asked["challenge"], asked["id"]) == asked["id"]
        return 200, {}, {"id": asked["id"], "allow": is_its}


@pytest.mark.parametrize(
    "step",
    short_and_long(*USUAL, of=STEPS),
)
def test_killed(directory, tmp_path, serve, step):
    path = directory()
    (path / "hook.key").touch(0o600)
    (path / "hook.key").write_text(SECRET)
    module, name, method, is_before = STEPS[step]
    killing = tmp_path / "killing.py"
    killing.write_text(
        _KILLING.format(module=module, name=name, method=method, is_before=is_before)
    )
    with Service(Inventory()) as service:
        with (path / "scep.toml").open("a") as file:
            file.write(f'{RULE}url = "{service.url}"\n')
        server = serve(path, customize=killing)
        message = devices.pkcs_req("mdm-secret", to=server.ra)
        with contextlib.suppress(OSError, http.client.HTTPException):
            server.post(message)
            pytest.fail("the server was not killed")
        assert server.process.wait(PATIENCE) == -signal.SIGKILL
        again = serve(path)
        first = again.read(again.post(message))
        assert isinstance(first.rep, Success)
        assert again.read(again.post(message)).certificate == first.certificate
        thief = devices.pkcs_req("mdm-secret", to=again.ra, transaction_id="b")
        assert isinstance(again.read(again.post(thief)).rep, Failure)
        assert again.stop() == 0
    asked = [one["id"] for one in service.asked]
    assert len(set(asked[:-1])) == 1
    is_stored = [*STEPS].index(step) >= STORED
    assert len(asked) == (2 if is_stored or step == "before the question" else 3)
    with Store.open(f"sqlite:///{path / 'scep.db'}") as store:
        assert len([*store.certificates()]) == 1
