"""RFC 8894 sections 3.5 and 7.5: GetCACaps."""

from __future__ import annotations

import pytest

from pair import Pair, Server
from scepkit.errors import LegacyRefused, TransportError
from scepkit.protocol.algorithms import NO_LEGACY, Legacy
from scepkit.protocol.scep import capabilities, transaction
from scepkit.protocol.scep.capabilities import choose, offered, parse, render
from scepkit.protocol.scep.http import HTTPRequest, HTTPResponse

EVERY = frozenset(Legacy)
REGISTRY = {"AES", "DES3", "GetNextCACert", "POSTPKIOperation", "Renewal", "SHA-1", "SHA-256"}
REGISTRY |= {"SHA-512", "SCEPStandard"}


@pytest.mark.rfc("S-3.5.1-1", "S-4.1-4")
def test_getcacaps_is_a_get_without_a_message(pair):
    """GET SCEPPATH?operation=GetCACaps, with no message parameter."""
    pair.run(transaction.ca_capabilities())
    assert pair.http == [HTTPRequest("GET", b"operation=GetCACaps")]


@pytest.mark.rfc("S-3.5.2-1", "S-3.5.2-3")
@pytest.mark.parametrize("allowed", [NO_LEGACY, EVERY])
def test_a_server_writes_one_keyword_a_line(allowed):
    """The body is keywords in plain text in the registry's exact case, one a line, LF."""
    body = render((*offered(allowed), capabilities.RENEWAL, capabilities.GET_NEXT_CA_CERT))
    lines = body.decode("ascii").split("\n")
    assert lines.pop() == ""
    assert "\r" not in body.decode()
    assert set(lines) <= REGISTRY | {"SHA-384"}
    assert len(lines) == len(set(lines))


@pytest.mark.rfc("S-3.5.2-2", "S-3.5.2-10", "S-3.5.2-7")
def test_a_server_says_singly_what_scepstandard_implies():
    """AES, POSTPKIOperation and SHA-256 are announced individually next to SCEPStandard."""
    assert {"AES", "POSTPKIOperation", "SHA-256", "SCEPStandard"} <= set(offered(NO_LEGACY))
    # strongSwan 5.9.8 sees AES and SHA-256 only beside this one.
    assert "SHA-384" in offered(NO_LEGACY)


@pytest.mark.rfc("S-3.5.2-2")
@pytest.mark.parametrize(("name", "keyword"), [(Legacy.DES3, "DES3"), (Legacy.SHA1, "SHA-1")])
def test_a_legacy_algorithm_is_announced_when_it_is_allowed(name, keyword):
    """DES3 and SHA-1 are said by a server that does them, and by no other."""
    assert keyword not in offered(NO_LEGACY)
    assert keyword not in offered(EVERY - {name})
    assert keyword in offered({name})


@pytest.mark.rfc("S-3.5.2-2")
def test_aes_is_said_before_des3():
    """certmonger takes whichever of AES and DES3 is listed first."""
    said = offered(EVERY)
    assert said.index("AES") < said.index("DES3")


@pytest.mark.rfc("S-3.5.2-5", "S-3.5.2-4")
@pytest.mark.parametrize(
    "body",
    [
        b"AES\nSHA-256\nPOSTPKIOperation\n",
        b"AES\r\nSHA-256\r\nPOSTPKIOperation\r\n",
        b"POSTPKIOperation\nSHA-256\nAES",
        b"aes\nsha-256\npostpkioperation",
        b"  AES \t\n\n\r\nSha-256\n\nPOSTPKIOPERATION\n\n",
        b"AES\nAES\nSHA-256\nPOSTPKIOperation\r\n",
        b"AES\rSHA-256\rPOSTPKIOperation\r",
        b"AES\nSHA-256\nPOSTPKIOperation\0",
        b"\xef\xbb\xbfAES\nSHA-256\nPOSTPKIOperation\n",
        "\ufeffAES\r\nSHA-256\r\nPOSTPKIOperation\r\n".encode("utf-16-le"),
        "\ufeffAES\r\nSHA-256\r\nPOSTPKIOperation\r\n".encode("utf-16-be"),
    ],
)
def test_a_client_reads_every_way_of_writing_it(body):
    """CRLF, LF, CR, any order, case, blank lines, stray spaces and Unicode's marks read alike."""
    assert parse(body) == {"aes", "sha-256", "postpkioperation"}


@pytest.mark.rfc("S-3.5.2-6", "L-04", "S-6-1")
def test_unknown_keywords_are_ignored():
    """Unknown and private keywords change nothing."""
    known = b"AES\nSHA-256\nSCEPStandard\n"
    more = known + b"Update\nExample.com-KEMRI\nSHA-3\n\xff\xfe\nAES256\nRenewal2\n"
    assert choose(parse(more), NO_LEGACY) == choose(parse(known), NO_LEGACY)


@pytest.mark.rfc("S-3.5.2-2")
def test_what_scepstandard_stands_for():
    """SCEPStandard is AES, POSTPKIOperation and SHA-256; not Renewal, GetNextCACert, SHA-512."""
    choice = choose(parse(b"SCEPStandard\n"), NO_LEGACY)
    assert (choice.cipher.keyword, choice.digest.keyword, choice.post) == ("AES", "SHA-256", True)
    assert not choice.renewal
    assert choose(parse(b"SCEPStandard\nRenewal\n"), NO_LEGACY).renewal


@pytest.mark.rfc("L-12")
def test_renewal_without_scepstandard_is_the_drafts_renewal():
    """Renewal alone means the drafts' PKCSReq signed with the current certificate, not type 17."""
    assert not choose(parse(b"AES\nSHA-256\nRenewal\n"), NO_LEGACY).renewal


@pytest.mark.rfc("S-3.5.2-8", "S-3.5.2-9")
@pytest.mark.parametrize("allowed", [NO_LEGACY, EVERY])
def test_the_best_common_algorithms_are_preferred(allowed):
    """SHA-256 is preferred to SHA-1 and AES-128-CBC to 3DES; nothing beyond them is used."""
    choice = choose(parse(b"DES3\nAES\nSHA-1\nSHA-512\nSHA-256\n"), allowed)
    assert choice.digest.name == "sha256"
    assert choice.cipher.name == "aes128-cbc"


@pytest.mark.rfc("S-3.5.2-8", "S-7.5-1", "L-03")
@pytest.mark.parametrize("body", [b"", b"DES3\nSHA-1\n", b"POSTPKIOperation\nRenewal\n"])
def test_below_aes_and_sha256_only_by_name(body):
    """Nothing below AES and SHA-256 is used unasked; when allowed, 3DES and SHA-1, never lower."""
    with pytest.raises(LegacyRefused) as caught:
        choose(parse(body), NO_LEGACY)
    assert "sha1" in caught.value.names
    with pytest.raises(LegacyRefused, match="AES") as caught:
        choose(parse(body), {Legacy.SHA1})
    assert caught.value.names == ("sha1", "des3")
    choice = choose(parse(body), EVERY)
    assert (choice.digest.name, choice.cipher.name) == ("sha1", "des3-cbc")


@pytest.mark.rfc("S-7.5-1")
def test_each_half_is_chosen_by_itself():
    """A CA may know AES without SHA-256, or the other way round (NDES has no AES)."""
    ndes = parse(b"POSTPKIOperation\nRenewal\nSHA-512\nSHA-256\nSHA-1\nDES3\n")
    with pytest.raises(LegacyRefused, match="AES"):
        choose(ndes, {Legacy.SHA1})
    choice = choose(ndes, {Legacy.DES3})
    assert (choice.digest.name, choice.cipher.name, choice.post) == ("sha256", "des3-cbc", True)


@pytest.mark.rfc("S-4.1-3")
@pytest.mark.parametrize(
    ("body", "post"),
    [
        (b"AES\nSHA-256\nPOSTPKIOperation\n", True),
        (b"SCEPStandard\n", True),
        (b"AES\nSHA-256\npostpkioperation", True),
        (b"AES\nSHA-256\n", False),
    ],
)
def test_post_is_used_wherever_it_is_offered(body, post):
    """SCEPStandard or POSTPKIOperation: every CMS message goes by POST, else by GET."""
    assert choose(parse(body), NO_LEGACY).post is post
    pair = Pair(caps=body.decode().split())
    pair.enrol()
    assert pair.trips[0].sent.method == ("POST" if post else "GET")


@pytest.mark.rfc("S-3.5.2-12", "L-03")
@pytest.mark.parametrize("status", [400, 404, 500, 501])
def test_an_http_error_is_no_capability(pair, status, monkeypatch):
    """An HTTP error in answer to GetCACaps means no listed capability."""
    monkeypatch.setattr(Server, "handle", lambda *_: HTTPResponse(status, b"AES\nSHA-256"))
    assert pair.run(transaction.ca_capabilities()) == frozenset()
    assert pair.waits == []


@pytest.mark.rfc("S-3.5.2-12")
@pytest.mark.parametrize("body", [b"", b"\n", b"\r\n\r\n", b"   "])
def test_an_empty_body_is_no_capability(body):
    """An empty body means no listed capability."""
    assert parse(body) == frozenset()


@pytest.mark.rfc("L-03")
@pytest.mark.parametrize(
    "body",
    [
        b"<html>\nAES\nSHA-256\n</html>",
        b"\n <!DOCTYPE html>\nAES",
        b"\xef\xbb\xbf<html>\nAES\n</html>",
        b"AES\n" * 2000,
    ],
)
def test_an_error_page_is_no_capability(body):
    """An HTML page, or something far too long, is no list of capabilities."""
    assert parse(body) == frozenset()


@pytest.mark.rfc("L-03", "S-3.5.2-15")
def test_a_connection_that_is_closed_on_getcacaps_is_no_capability(pair, monkeypatch):
    """Some servers close the connection: if GetCACert is answered, there is no capability."""
    carry = Pair.carry
    drop = lambda pair, sent: None if b"GetCACaps" in sent.query else carry(pair, sent)  # noqa: E731
    monkeypatch.setattr(Pair, "carry", drop)
    found = pair.run(transaction.ca_information())
    assert found.capabilities == frozenset()
    assert len(found.certificates) == 2
    assert pair.waits == []


@pytest.mark.rfc("L-03")
def test_a_connection_that_breaks_once_is_no_lack_of_capabilities(pair, monkeypatch):
    """What breaks once may do so by chance: where GetCACert is answered, it is asked once more."""
    carry, dropped = Pair.carry, []

    def drop_first(pair, sent):
        if b"GetCACaps" in sent.query and not dropped:
            dropped.append(sent)
            return None
        return carry(pair, sent)

    monkeypatch.setattr(Pair, "carry", drop_first)
    found = pair.run(transaction.ca_information())
    assert choose(found.capabilities, NO_LEGACY).standard
    assert dropped


@pytest.mark.rfc("L-03", "S-4.1-3", "S-2.9-2")
def test_a_whole_enrolment_without_getcacaps():
    """No GetCACaps: 3DES, SHA-1, GET and PKCSReq, when the user allows them."""
    old = frozenset({Legacy.SHA1, Legacy.DES3})
    pair = Pair(caps=(), allowed=old, client_allowed=old)
    pair.enrol()
    choice = pair.exchange.choice
    assert (choice.digest.name, choice.cipher.name) == ("sha1", "des3-cbc")
    assert (choice.post, choice.renewal, choice.renews) == (False, False, False)
    assert pair.trips[0].sent.method == "GET"
    assert pair.kinds == ["PKCSReq"]


@pytest.mark.rfc("P-61")
@pytest.mark.parametrize(
    ("now", "missing"),
    [
        (b"AES\nSHA-256\nSCEPStandard\nRenewal\n", set()),
        (b"SCEPStandard\n", set()),
        (b"AES\nSHA-256\n", {"scepstandard"}),
        (b"DES3\nSHA-1\n", {"aes", "sha-256", "scepstandard"}),
        (b"", {"aes", "sha-256", "scepstandard"}),
    ],
)
def test_what_was_seen_once_is_not_lowered_silently(now, missing):
    """A later weaker GetCACaps does not make the client weaker; what is missing is told."""
    seen = parse(b"AES\nSHA-256\nSCEPStandard\nRenewal\nPOSTPKIOperation\nExotic\n")
    found = parse(now)
    gone = capabilities.withdrawn(found, seen)
    assert gone == missing
    choice = choose(found | gone, EVERY)
    assert (choice.digest.name, choice.cipher.name) == ("sha256", "aes128-cbc")
    assert capabilities.withdrawn(found, frozenset()) == frozenset()


@pytest.mark.rfc("L-03")
def test_nobody_there_is_not_the_same_as_no_capability(pair, monkeypatch):
    """When no HTTP answer comes at all, the client says so instead of guessing."""
    monkeypatch.setattr(Pair, "carry", lambda *_: None)
    with pytest.raises(TransportError):
        pair.run(transaction.ca_capabilities())


@pytest.mark.rfc("S-3.5.2-14")
@pytest.mark.parametrize(
    "content_type", ["text/html", "", "application/octet-stream", "text/plain"]
)
def test_the_content_type_is_ignored(pair, content_type, monkeypatch):
    """The client ignores the Content-Type of the GetCACaps reply."""
    answer = HTTPResponse(200, b"AES\nSHA-256\n", content_type)
    monkeypatch.setattr(Server, "handle", lambda *_: answer)
    assert pair.run(transaction.ca_capabilities()) == {"aes", "sha-256"}
