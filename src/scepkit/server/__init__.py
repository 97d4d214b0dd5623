"""The server: its processes, its settings, and what it answers over HTTP."""

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
