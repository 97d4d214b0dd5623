"""SCEP (RFC 8894), both ends.

To get a certificate into a directory, and have it renewed, whatever interrupts that:

    from scepkit import Client, Enroller, Folder, Renewer, by_fingerprint

    folder = Folder(Path("device1"))
    enroller = Enroller(Client("http://ca.example/scep"), folder, by_fingerprint("sha256:5a1f…"))
    enroller.enrol("CN=dev1,O=Example", challenge="…")
    Renewer(folder).renew()

To get a certificate, and keep its key in your own way:

    from scepkit import Client, generate_key

    client = Client("http://ca.example/scep")
    ca = client.get_ca("sha256:5a1f…")
    key = generate_key("rsa:2048")
    issued = client.enrol(ca, key, "CN=dev1,O=Example", challenge="…")
    issued = client.renew(ca, key, issued.certificate, generate_key("rsa:2048"))

With asyncio: `AsyncClient` has the same methods, to be awaited, and needs the extra `async`.

To answer requests in a server of your own:

    from scepkit import Responder, Success

    responder = Responder(
        signer=ra, credentials=[ra], random=os.urandom, now=lambda: datetime.now(UTC)
    )
    reply = responder.respond(body, lambda request, sender: Success([certificate]))

To seal and open messages over a transport of your own: `pkimessage`, `cms`, `csr`, `http`,
`capabilities`, `cacerts` and, for revocation, `cmp`: modules of values and pure functions.
Nothing here imports the server or an HTTP library.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scepkit.public_api import *  # noqa: F403
    from scepkit.public_api import __all__ as __all__
else:
    # A type checker that saw this would take every name for a public one.

    def __getattr__(name: str) -> object:
        """Return a public name.

        All of them are loaded when the first is asked for: that takes longer than all else that
        `scep` needs to start.
        """
        if name.startswith("_") and name != "__all__":
            raise AttributeError(f"module 'scepkit' has no attribute {name!r}")
        # Not `from scepkit import`, which would ask here.
        public = import_module("scepkit.public_api")
        if name != "__all__" and name not in public.__all__:
            raise AttributeError(f"module 'scepkit' has no attribute {name!r}")
        return getattr(public, name)

    def __dir__() -> list[str]:
        return [*globals(), *import_module("scepkit.public_api").__all__]
