"""Carry SCEP over a transport of your own: here urllib of the standard library."""

import sys
import urllib.error
import urllib.request

from scepkit import Client, HTTPRequest, HTTPResponse, TransportError


class StandardLibrary:
    """Everything that a transport needs is `send`."""

    def send(self, url: str, request: HTTPRequest) -> HTTPResponse:
        target = f"{url}?{request.query.decode('ascii')}"
        asked = urllib.request.Request(target, request.body or None, method=request.method)
        asked.add_header("Content-Type", request.content_type)
        try:
            with urllib.request.urlopen(asked, timeout=30) as answer:
                body, kind = answer.read(1_000_000), answer.headers.get_content_type()
                return HTTPResponse(answer.status, body, kind)
        except urllib.error.HTTPError as error:
            with error:
                return HTTPResponse(error.code, error.read(1000))
        except OSError as error:
            raise TransportError(f"no answer from {url}: {error}") from error


client = Client(sys.argv[1], transport=StandardLibrary())
print(*sorted(client.get_capabilities()))
