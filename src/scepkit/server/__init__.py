"""The server: its processes, its settings, and what it answers over HTTP.

processes       the supervisor, and the workers, committer and others that it has started
directory       its files: CAs, secrets, passphrases, the database; the first start makes them
settings        `scep.toml`; `reloading` reads it again, `in_force` has what is in force
endpoints       each put together of settings, CAs and the database
http            octets, connections and bounds
web             what is answered to devices: SCEP, CMP, OCSP, CRLs, health, metrics
doors           pages where others ask for challenges; `api` is the one for programs
webhooks        services that are asked; `intune` is one
notifications   who is told of what happens
background      what is done without a request

`run` begins all of it, and `app` is one process of those that answer.
"""

from __future__ import annotations

import sys
from contextlib import suppress

# structlog imports rich where that is installed, for coloured tracebacks, which the log has none of
# (see `log`). That would be 4 MiB in every server.
_known = sys.modules.get("rich")
sys.modules["rich"] = None  # type: ignore[assignment]
with suppress(ModuleNotFoundError):  # of the extra `server`; whoever needs it says so
    import structlog  # noqa: F401
if _known is None:
    del sys.modules["rich"]
else:
    sys.modules["rich"] = _known
