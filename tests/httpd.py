"""A SCEP server on a real socket of 127.0.0.1, and what may stand in its way.

    with Site(Pending(), grant) as site:          # what policy says, in order
        site.next(Operation.PKI_OPERATION, HTTPResponse(503, b"busy"))
        Client(site.url)...

What is arranged with `next` happens to the next request of that operation, before the server sees
it: another answer, `HANG` (none, until the site closes) or `DROP` (the connection is closed).
"""

from __future__ import annotations

import ssl
import threading
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from cryptography import x509
from cryptography.x509.oid import ExtensionOID

import keys
from pair import Server, _Public
from scepkit.protocol.algorithms import NO_LEGACY
from scepkit.protocol.certificate import fingerprint
from scepkit.protocol.scep import http
from scepkit.protocol.scep.http import HTTPRequest

HANG, DROP = object(), object()
DAY = timedelta(days=1)


@cache
def today():
    return datetime.now(UTC).replace(microsecond=0)


def certify(subject, key, issuer=None, **how):
    """Certify for the clock of this machine, which the client uses."""
    how = {"not_before": today() - DAY, "not_after": today() + 30 * DAY} | how
    return keys.certify(subject, key, issuer, **how)


@cache
def ca(which="ca"):
    usage = keys.usage("digital_signature", "key_encipherment", "key_cert_sign", "crl_sign")
    name = "Test CA" if which == "ca" else f"Test {which}"
    return certify(name, keys.rsa_key(which), ca=True, key_usage=usage, key_identifier=True)


@cache
def ra():
    usage = keys.usage("digital_signature", "key_encipherment")
    return certify("Test RA", keys.rsa_key("ra"), ca(), key_usage=usage)


def crl(serials, issuer=None, number=5):
    """Return the CA's list of revoked certificates."""
    issuer = issuer or ca()
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.x509.subject)
        .last_update(today())
        .next_update(today() + DAY)
    )
    if number is not None:
        builder = builder.add_extension(x509.CRLNumber(number), critical=False)
    for serial in serials:
        revoked = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(today())
        builder = builder.add_revoked_certificate(revoked.build())
    return builder.sign(issuer.key, keys.SHA256)


class _Scep(Server):
    def issue(self, wanted):
        """Certify what is wanted, but for a keyUsage."""
        asked = x509.load_der_x509_csr(wanted.der).extensions
        more = [one for one in asked if one.oid != ExtensionOID.KEY_USAGE]
        subject = wanted.subject.x509()
        return certify(subject, _Public(wanted.public_key), self.opener, more=more).der


class Site:
    """A server that runs while the `with` block does.

    Args:
        decisions: see `pair.Server`.
        ra: who opens requests and signs replies; None for the CA itself.
        allowed: the legacy algorithms that the server allows.
        caps: the GetCACaps keywords; what the server can do, when None.
        following: the CA that will follow.
        authority: who issues; the usual CA, when None.
        tls: certificate chain and key for HTTPS, as the path of a PEM file.
        clients: the CA whose clients alone may talk to it by HTTPS, as the path of a PEM file.
    """

    def __init__(
        self,
        *decisions,
        ra="default",
        allowed=NO_LEGACY,
        caps=None,
        tls=None,
        clients=None,
        following=None,
        authority=None,
    ):
        import os

        authority = authority or ca()
        self.scep = _Scep(
            decisions,
            ca=authority,
            ra=globals()["ra"]() if isinstance(ra, str) else ra,
            allowed=allowed,
            caps=caps,
            random=os.urandom,
            following=following,
        )
        self.requests = []
        self.paths = []
        self.closing = threading.Event()
        self._arranged = defaultdict(list)
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(tls)
            if clients:
                context.verify_mode = ssl.CERT_REQUIRED
                context.load_verify_locations(clients)
            self._http.socket = context.wrap_socket(self._http.socket, server_side=True)
        scheme = "https" if tls else "http"
        self.origin = f"{scheme}://127.0.0.1:{self._http.server_port}"
        self.url = f"{self.origin}/scep"
        self.fingerprint = fingerprint(authority.der)
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,))

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *error):
        self.closing.set()
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()

    def next(self, operation, *answers):
        """Arrange what happens to the next requests of an operation."""
        self._arranged[operation].extend(answers)

    def asked(self, operation):
        """Return the requests of an operation that came."""
        return [r for r in self.requests if http.read_request(r).operation is operation]

    def answer(self, request):
        """Return what to answer to a request."""
        self.requests.append(request)
        arranged = self._arranged[http.read_request(request).operation]
        return arranged.pop(0) if arranged else self.scep.handle(request)

    def _handler(self):
        site = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                self._answer(b"")

            def do_POST(self):
                self._answer(self.rfile.read(int(self.headers["content-length"])))

            def _answer(self, body):
                path, _, query = self.path.partition("?")
                site.paths.append(path)
                answer = site.answer(HTTPRequest(self.command, query.encode(), body))
                if answer is HANG:
                    site.closing.wait()
                if answer in (HANG, DROP):
                    self.close_connection = True
                    return
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Type", answer.content_type)
                self.send_header("Content-Length", str(len(answer.body)))
                self.end_headers()
                self.wfile.write(answer.body)

            def log_message(self, *args):
                pass

        return Handler
