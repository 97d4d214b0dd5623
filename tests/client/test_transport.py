"""The driver: what a flow asks for is done, and nothing else."""

from __future__ import annotations

import pytest

from scepkit.client.transport import run_flow
from scepkit.errors import TransportError
from scepkit.protocol.scep.http import HTTPRequest, HTTPResponse
from scepkit.protocol.scep.transaction import Wait

REQUEST = HTTPRequest("GET", b"operation=GetCACaps")


class Script:
    """A transport that answers what it was told to, in order."""

    def __init__(self, *answers):
        self.answers = list(answers)

    def send(self, url, request):
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def test_the_flow_gets_answers_and_its_result_comes_out():
    def flow():
        first = yield REQUEST
        second = yield REQUEST
        return first.body + second.body

    transport = Script(HTTPResponse(200, b"a"), HTTPResponse(200, b"b"))
    assert run_flow(flow(), transport, "http://x/") == b"ab"


def test_the_flow_decides_what_a_lost_answer_means():
    def flow():
        try:
            yield REQUEST
        except TransportError as error:
            yield Wait(3, error.message)
        return (yield REQUEST).status

    waits = []
    transport = Script(TransportError("lost"), HTTPResponse(200, b""))
    assert run_flow(flow(), transport, "http://x/", waits.append) == 200
    assert waits == [Wait(3, "lost")]


def test_a_pause_may_give_up():
    def flow():
        yield Wait(1, "waiting")

    def give_up(wait):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_flow(flow(), Script(), "http://x/", give_up)
