"""RFC 8894 sections 3.2.1 and 3.2.1.1 to 3.2.1.4: the signed attributes."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone

import pytest

import forge
import keys
from der import octets, printable, tlv, utf8
from pair import Pair, alter
from scepkit.errors import BadMessageCheck, BadReply, BadRequest, FailInfo, Malformed
from scepkit.protocol.algorithms import AES128, NO_LEGACY, SHA256
from scepkit.protocol.asn1 import ber
from scepkit.protocol.scep import pkimessage
from scepkit.protocol.scep.attributes import (
    FAIL_INFO,
    FAIL_INFO_TEXT,
    MESSAGE_TYPE,
    PKI_STATUS,
    RECIPIENT_NONCE,
    SENDER_NONCE,
    TRANSACTION_ID,
    MessageType,
    PKIStatus,
    TransactionID,
)
from scepkit.protocol.scep.messages import CertPoll, Failure, Pending, Success

CMS = [forge.CONTENT_TYPE, forge.MESSAGE_DIGEST]


def names(message):
    return set(forge.signed_attributes(message))


def expected(*dotted):
    return {forge.oid(one).hex() for one in dotted}


@pytest.mark.rfc("S-3.2.1-5")
def test_the_oids():
    """The OIDs are Table 2's; failInfoText is the only one under id-pkix."""
    arc = "2.16.840.1.113733.1.9."
    found = [MESSAGE_TYPE, PKI_STATUS, FAIL_INFO, SENDER_NONCE, RECIPIENT_NONCE, TRANSACTION_ID]
    assert [ber.oid(oid).dotted_string for oid in found] == [
        arc + str(last) for last in range(2, 8)
    ]
    assert ber.oid(FAIL_INFO_TEXT).dotted_string == "1.3.6.1.5.5.7.24.1"


@pytest.mark.rfc("S-3.2.1-1", "S-3.3.1-3", "P-07", "S-3.3.3-3")
@pytest.mark.parametrize("trip", [0, 1])
def test_a_request_has_transaction_id_message_type_and_nonce(trip):
    """Requests carry transactionID, messageType, senderNonce, contentType and messageDigest.

    The signingTime, which is optional, goes along for CAs that look at it.
    """
    pair = Pair(
        Pending(),
        lambda server, request, sender: Success(
            (server.issue(server.wanted[sender.attributes.transaction_id]),)
        ),
    )
    pair.enrol()
    assert names(pair.trips[trip].request) == expected(
        forge.TRANSACTION_ID, forge.MESSAGE_TYPE, forge.SENDER_NONCE, forge.SIGNING_TIME, *CMS
    )


@pytest.mark.rfc("S-3.2.1-1", "S-3.2.1-2", "S-3.2.1-3", "P-07", "S-3.2.1.3-1")
@pytest.mark.parametrize(
    ("answer", "more"),
    [
        (Pending(), []),
        (Success(), []),
        (Failure(FailInfo.badTime), [forge.FAIL_INFO]),
        (BadRequest("why"), [forge.FAIL_INFO, forge.FAIL_INFO_TEXT]),
    ],
)
def test_a_certrep_has_status_and_both_nonces_besides(answer, more):
    """A CertRep adds pkiStatus and recipientNonce; FAILURE adds failInfo, maybe failInfoText."""
    reply = Pair(answer).ask(forge.request()).body
    assert names(reply) == expected(
        *(forge.TRANSACTION_ID, forge.MESSAGE_TYPE, forge.SENDER_NONCE, forge.RECIPIENT_NONCE),
        *(forge.PKI_STATUS, *CMS, *more),
    )


@pytest.mark.rfc("S-3.2.1-4")
def test_the_encodings_of_a_request(pair):
    """transactionID and messageType are PrintableString, the nonce is an OCTET STRING."""
    pair.enrol()
    message = pair.trips[0].request
    assert forge.signed_attribute(message, forge.MESSAGE_TYPE) == printable("19")
    assert forge.signed_attribute(message, forge.TRANSACTION_ID)[0] == 0x13
    assert forge.signed_attribute(message, forge.SENDER_NONCE)[:2] == b"\x04\x10"


@pytest.mark.rfc("S-3.2.1-4", "S-3.2.1-3")
def test_the_encodings_of_a_certrep():
    """Numbers are decimal text in PrintableString; failInfoText is UTF8String."""
    reply = Pair(BadRequest("für Menschen")).ask(forge.request()).body
    assert forge.signed_attribute(reply, forge.MESSAGE_TYPE) == printable("3")
    assert forge.signed_attribute(reply, forge.PKI_STATUS) == printable("2")
    assert forge.signed_attribute(reply, forge.FAIL_INFO) == printable("2")
    assert forge.signed_attribute(reply, forge.FAIL_INFO_TEXT) == utf8("für Menschen")
    assert forge.signed_attribute(reply, forge.RECIPIENT_NONCE) == octets(forge.NONCE)
    assert forge.signed_attribute(reply, forge.SENDER_NONCE)[:2] == b"\x04\x10"


@pytest.mark.rfc("S-3.2.1-5")
def test_openssl_finds_them_under_their_oids(pair, openssl):
    """The attributes that openssl sees are those of Table 2."""
    pair.enrol()
    seen = openssl.cms(pair.replies[0])
    for last in (2, 3, 5, 6, 7):
        assert f"2.16.840.1.113733.1.9.{last})" in seen


# --- 3.2.1.1 transactionID ------------------------------------------------------------------------


@pytest.mark.rfc("S-3.2.1.1-1", "P-12")
def test_a_client_chooses_a_fresh_printable_transaction_id():
    """The transactionID is unique for each transaction, a PrintableString: hex."""
    chosen = {Pair(seed=seed).enrol().transaction_id.value for seed in range(3)}
    assert len(chosen) == 3
    assert all(re.fullmatch(rb"[0-9a-f]{32}", one) for one in chosen)


@pytest.mark.rfc("S-3.2.1.1-2", "S-4.4-2")
def test_one_transaction_id_in_every_message_of_the_operation(pair):
    """Request, polls and all CertReps of a transaction have the same transactionID."""
    pair.server.decisions = [Pending(), Pending(), *pair.server.decisions]
    issued = pair.enrol()
    messages = [trip.request for trip in pair.trips] + pair.replies
    assert len(messages) == 6
    found = {forge.signed_attribute(one, forge.TRANSACTION_ID) for one in messages}
    assert found == {printable(issued.transaction_id.value.decode())}


ODD_IDS = [
    *(b"0", b"SSCEP transactionId", b"Qe6E1N5fciHXkOegqGRiiU0/57c=", b"7" * 77, b"x" * 255),
    *(b"a_b@c*d&e#", b"'; DROP TABLE requests; --", b"../../etc/passwd", b"\x00\x1b[31m\r\n", b" "),
    *(b"\xff\xfe", b"\xed\xa0\x80", "Gerät".encode()),
]


@pytest.mark.rfc("S-3.2.1.1-2", "P-13", "S-3.2.1.1-3", "S-3.2.1.1-4", "L-08")
@pytest.mark.parametrize("value", ODD_IDS)
@pytest.mark.parametrize("tag", [0x13, 0x0C, 0x16])
def test_any_transaction_id_is_copied_byte_for_byte(pair, value, tag):
    """The transactionID is opaque: the server repeats tag and octets unchanged, whatever it is."""
    sent = tlv(tag, value)
    reply = pair.ask(forge.request(scep={"transaction_id": sent})).body
    assert forge.signed_attribute(reply, forge.TRANSACTION_ID) == sent
    assert isinstance(pair.read_reply(reply), Success)
    assert pair.server.asked[0][1].attributes.transaction_id == TransactionID(value, tag)


@pytest.mark.rfc("P-13")
@pytest.mark.parametrize("value", ODD_IDS)
def test_a_transaction_id_is_harmless_in_a_log(value):
    """For logs and terminals a transactionID is escaped, and different ones stay different."""
    text = str(TransactionID(value))
    assert text.isascii()
    assert text.isprintable()
    assert len({str(TransactionID(one)) for one in [*ODD_IDS, b"\\xff", b"\\xff\\xfe"]}) == 15


@pytest.mark.rfc("P-13", "P-70")
@pytest.mark.parametrize(
    "sent",
    [
        tlv(0x13),
        tlv(0x13, b"x" * 256),
        tlv(0x13, b"x" * 10_000),
        tlv(0x02, b"\x01"),
        tlv(0x04, b"1"),
        tlv(0x1E, b"\x001"),
        tlv(0x30, printable("1")),
        b"",
        printable("1") + printable("1"),
        printable("1") + printable("2"),
    ],
)
def test_an_unusable_transaction_id_cannot_be_answered(pair, sent):
    """Without one string of 1 to 255 octets there is nothing to answer to: HTTP 400."""
    values = forge.scep_attributes(transaction_id=None)
    values.append(forge.attribute(forge.TRANSACTION_ID, sent))
    response = pair.ask(forge.request(attributes=values))
    assert response.status == 400
    assert b"transactionID" in response.body
    assert len(response.body) < 200


@pytest.mark.rfc("P-70", "P-02")
@pytest.mark.parametrize("times", [0, 2])
def test_exactly_one_transaction_id_attribute(pair, times):
    """A transactionID that is missing or occurs twice cannot be answered: HTTP 400."""
    values = forge.scep_attributes(transaction_id=None)
    values += [forge.attribute(forge.TRANSACTION_ID, printable("1"))] * times
    response = pair.ask(forge.request(attributes=values))
    assert (response.status, response.body) == (
        400,
        f"{times} transactionIDs where one is needed".encode(),
    )


@pytest.mark.rfc("S-3.2.1.1-2")
@pytest.mark.parametrize("other", ["another", forge.ID.lower(), forge.ID + " ", forge.ID[:-1]])
def test_a_reply_of_another_transaction_is_rejected(pair, other):
    """The client rejects a CertRep with a transactionID that is not its own."""
    with pytest.raises(BadReply, match="belongs to another transaction"):
        pair.believe(forge.reply(transaction_id=other))
    assert pair.believe(forge.reply()) == Pending()


@pytest.mark.rfc("S-3.2.1.1-2")
def test_two_transactions_replies_cannot_be_exchanged(pair):
    """A whole genuine reply to another transaction is discarded; the right one is waited for."""
    pair.enrol()
    pair.on_reply(2, alter(lambda _: pair.replies[0]))
    pair.enrol()
    (wait,) = pair.waits
    assert wait.reason == "the reply belongs to another transaction"
    assert pair.trips[1].request == pair.trips[2].request


# --- 3.2.1.2 messageType --------------------------------------------------------------------------


@pytest.mark.rfc("S-3.2.1.2-2")
def test_the_message_types():
    """The values are 3, 17, 19, 20, 21 and 22; 0 is reserved."""
    assert {kind.value for kind in MessageType} == {3, 17, 19, 20, 21, 22}


@pytest.mark.rfc("S-3.2.1.2-1")
def test_a_missing_message_type_is_answered_bad_request(pair):
    """messageType is present in every pkiMessage."""
    refused = pair.answer_to(forge.request(scep={"message_type": None}))
    assert refused == Failure(2, "the messageType is missing")


@pytest.mark.rfc("S-3.2.1.2-3", "P-75", "L-22", "L-23")
@pytest.mark.parametrize("number", [0, 1, 2, 4, 16, 18, 23, 41, 255, 999])
def test_an_undefined_message_type_is_answered_bad_request(pair, number):
    """Undefined message types, 18 and Microsoft's 41 among them, are answered badRequest."""
    refused = pair.answer_to(forge.request(scep={"message_type": str(number)}))
    assert refused == Failure(2, f"messageType {number} is not defined by RFC 8894")
    assert pair.server.asked == []


@pytest.mark.rfc("S-3.2.1.2-3", "S-3.2.1-4")
@pytest.mark.parametrize(
    "sent",
    [
        *(printable(""), printable("-19"), printable("+19"), printable("1 9"), printable("0x13")),
        *(
            printable("1000"),
            tlv(0x02, b"\x13"),
            octets(b"19"),
            utf8("١٩"),
            tlv(0x1E, b"\x001\x009"),
        ),
    ],
)
def test_a_message_type_that_is_no_number_is_answered_bad_request(pair, sent):
    """A messageType is decimal text."""
    refused = pair.answer_to(forge.request(scep={"message_type": sent}))
    assert refused == Failure(2, "messageType is not a number")


@pytest.mark.rfc("S-3.2.1-4")
@pytest.mark.parametrize("tag", [0x0C, 0x16])
def test_numbers_in_another_string_type_are_still_numbers(pair, tag):
    """UTF8String and IA5String in place of PrintableString are tolerated on input."""
    assert isinstance(
        pair.answer_to(forge.request(scep={"message_type": tlv(tag, b"19")})), Success
    )


@pytest.mark.rfc("S-3.2.1.2-3")
def test_a_certrep_is_no_request(pair):
    """A server answers a CertRep badRequest."""
    refused = pair.answer_to(forge.request(scep={"message_type": "3"}))
    assert refused == Failure(2, "a CertRep is not a request")


@pytest.mark.rfc("S-3.2.1.2-3")
@pytest.mark.parametrize("number", ["17", "19", "20", "21", "22", "0", "41", ""])
def test_anything_but_certrep_is_no_reply(pair, number):
    """Anything but 3 in a reply is an error."""
    with pytest.raises(BadReply):
        pair.believe(forge.reply(message_type=number))
    with pytest.raises(BadReply, match="messageType is missing"):
        pair.believe(forge.reply(message_type=None))


# --- 3.2.1.3 pkiStatus ----------------------------------------------------------------------------


@pytest.mark.rfc("S-3.2.1.3-2")
def test_the_statuses():
    """0 is SUCCESS, 2 FAILURE, 3 PENDING."""
    assert {status.name: status.value for status in PKIStatus} == {
        "SUCCESS": 0,
        "FAILURE": 2,
        "PENDING": 3,
    }


@pytest.mark.rfc("S-3.2.1.3-2")
def test_each_status_is_read(pair):
    """The three statuses give the three answers."""
    assert pair.believe(forge.reply(pki_status="3")) == Pending()
    failure = pair.believe(forge.reply(pki_status="2", fail_info="4"))
    assert failure == Failure(FailInfo.badCertId)
    inner = forge.signed_data(None, certificates=[keys.customer().der])
    content = forge.envelope(inner, keys.device())
    success = pair.believe(forge.reply(content, pki_status="0"))
    assert success == Success((keys.customer().der,))


@pytest.mark.rfc("S-3.2.1.3-3", "L-23")
@pytest.mark.parametrize("status", ["1", "11", "4", "99"])
def test_an_undefined_status_is_an_error_and_never_success(pair, status):
    """Other pkiStatus values, Microsoft's 11 among them, are errors."""
    inner = forge.signed_data(None, certificates=[keys.customer().der])
    content = forge.envelope(inner, keys.device())
    with pytest.raises(BadReply, match=f"pkiStatus {status} is not defined"):
        pair.believe(forge.reply(content, pki_status=status))


@pytest.mark.rfc("S-3.2.1.3-1", "S-3.2.1.3-3")
@pytest.mark.parametrize("status", [None, "", "x", "-0", "0 ", tlv(0x02, b"\x00"), octets(b"0")])
def test_a_status_that_is_missing_or_no_number_is_an_error(pair, status):
    """Every response has a pkiStatus, a number as text."""
    with pytest.raises(BadReply, match="pkiStatus"):
        pair.believe(forge.reply(pki_status=status))


# --- 3.2.1.4 failInfo -----------------------------------------------------------------------------


@pytest.mark.rfc("S-3.2.1.4-1", "S-3.2.1.4-2")
def test_the_fail_infos():
    """failInfo is one of badAlg, badMessageCheck, badRequest, badTime, badCertId: 0 to 4."""
    assert [(one.name, one.value) for one in FailInfo] == [
        ("badAlg", 0),
        ("badMessageCheck", 1),
        ("badRequest", 2),
        ("badTime", 3),
        ("badCertId", 4),
    ]


@pytest.mark.rfc("S-3.2.1.4-1", "S-3.3.2.2-1", "S-3.3.2.2-2", "S-3.2.1.3-2")
@pytest.mark.parametrize("fail_info", FailInfo)
@pytest.mark.parametrize("text", ["", "why", "für Menschen 🙂"])
def test_a_failure_says_why(fail_info, text):
    """A FAILURE has the fitting failInfo, and may have a failInfoText."""
    pair = Pair(Failure(fail_info, text))
    assert pair.answer_to(forge.request()) == Failure(fail_info, text)


@pytest.mark.rfc("S-3.2.1.4-3", "A-03")
@pytest.mark.parametrize("number", ["5", "17", "255"])
def test_an_undefined_fail_info_is_still_a_failure(pair, number):
    """An undefined failInfo is reported as FAILURE, with the number that the server sent."""
    read = pair.believe(forge.reply(pki_status="2", fail_info=number, fail_info_text=utf8("x")))
    assert read == Failure(None, "x", undefined=int(number))
    assert str(read) == f"failInfo {number}, which RFC 8894 does not define: x"


@pytest.mark.rfc("S-3.2.1.4-3", "S-3.2.1.3-2")
def test_a_failure_without_fail_info_is_still_a_failure(pair):
    """failInfo is mandatory in a FAILURE; without it the refusal is a refusal."""
    read = pair.believe(forge.reply(pki_status="2"))
    assert read == Failure(None)
    assert str(read) == "refused without a failInfo"


@pytest.mark.rfc("S-3.2.1.4-4")
@pytest.mark.parametrize("text", ["0", "badAlg", "SUCCESS", "3"])
def test_the_text_is_for_humans_only(pair, text):
    """failInfoText is never read by the machine: it changes nothing."""
    read = pair.believe(forge.reply(pki_status="2", fail_info="4", fail_info_text=utf8(text)))
    assert read.fail_info is FailInfo.badCertId


@pytest.mark.rfc("S-3.2.1.4-4")
@pytest.mark.parametrize(
    ("sent", "read"),
    [
        (printable("plain"), "plain"),
        (tlv(0x0C, b"\xff"), "\ufffd"),
        (tlv(0x0C, b"x" * 5000), ""),
        (octets(b"x"), ""),
    ],
)
def test_a_strange_text_does_no_harm(pair, sent, read):
    """A failInfoText that is no UTF8String is shown as far as it can be."""
    reply = forge.reply(pki_status="2", fail_info="0", fail_info_text=sent)
    assert pair.believe(reply) == Failure(FailInfo.badAlg, read)


@pytest.mark.rfc("S-3.2.1.4-5", "P-22")
@pytest.mark.parametrize("time", [b"700101000000Z", b"491231235959Z", None])
def test_the_signing_time_is_not_judged(pair, time):
    """badTime may only arise from a signingTime; devices without clocks are served."""
    more = [forge.attribute(forge.SIGNING_TIME, tlv(0x17, time))] if time else []
    assert isinstance(pair.answer_to(forge.request(more=more)), Success)


MOMENT = datetime(2026, 11, 22, 12, 0, 59, tzinfo=UTC)


@pytest.mark.rfc("P-22", "S-3.2.1.4-5")
@pytest.mark.parametrize(
    ("value", "moment"),
    [
        (tlv(0x17, b"261122120059Z"), MOMENT),
        (tlv(0x18, b"20261122120059Z"), MOMENT),
        (tlv(0x18, b"20261122120059.25Z"), MOMENT),
        (tlv(0x17, b"261122130059+0100"), MOMENT),
        (tlv(0x17, b"261122073059-0430"), MOMENT),
        (tlv(0x17, b"2611221200Z"), MOMENT.replace(second=0)),
        (tlv(0x17, b"491231235959Z"), datetime(2049, 12, 31, 23, 59, 59, tzinfo=UTC)),
        (tlv(0x17, b"500101000000Z"), datetime(1950, 1, 1, tzinfo=UTC)),
        (tlv(0x18, b"20500101000000Z"), datetime(2050, 1, 1, tzinfo=UTC)),
    ],
)
def test_the_signing_time_is_read(value, moment):
    """UTCTime and GeneralizedTime, also in the forms of BER, are read as times in UTC."""
    message = forge.request(more=[forge.attribute(forge.SIGNING_TIME, value)])
    assert pkimessage.parse(message).attributes.signing_time == moment


@pytest.mark.rfc("P-22", "S-3.2.1.4-5")
@pytest.mark.parametrize(
    "values",
    [
        [tlv(0x17, value)]
        for value in (
            *(b"", b"2611221200", b"261322120000Z", b"20261122120059Z", b"26112212005960Z"),
            *(b"261122120060Z", b"\xff" * 13, b"261122120059Z ", b"261122120059"),
        )
    ]
    + [
        [tlv(0x18, b"261122120059Z")],
        [tlv(0x18, b"00000101000000Z")],
        [tlv(0x18, b"00010101000000+0100")],
        [octets(b"261122120059Z")],
        [printable("261122120059Z")],
        [],
        [tlv(0x17, b"261122120059Z")] * 2,
    ],
)
def test_a_signing_time_that_cannot_be_read_is_none(pair, values):
    """A broken signingTime is as good as none: it is not SCEP's, and devices have no clocks."""
    message = forge.request(more=[forge.attribute(forge.SIGNING_TIME, *values)])
    assert pkimessage.parse(message).attributes.signing_time is None
    assert isinstance(pair.answer_to(message), Success)


@pytest.mark.rfc("S-3.2.1.4-5")
@pytest.mark.parametrize(
    ("moment", "written"),
    [
        (MOMENT, tlv(0x17, b"261122120059Z")),
        (MOMENT.astimezone(timezone(timedelta(hours=5))), tlv(0x17, b"261122120059Z")),
        (datetime(2049, 12, 31, 23, 59, 59, tzinfo=UTC), tlv(0x17, b"491231235959Z")),
        (datetime(2050, 1, 1, tzinfo=UTC), tlv(0x18, b"20500101000000Z")),
    ],
)
def test_the_signing_time_is_written(moment, written):
    """UTCTime until 2049, GeneralizedTime from 2050 (RFC 5652 section 11.3)."""
    message = pkimessage.seal_request(
        CertPoll(b"\x30\x00", b"\x30\x00"),
        transaction_id=TransactionID(b"1"),
        sender_nonce=forge.NONCE,
        signer=keys.device().credential,
        recipient=keys.ra().certificate,
        digest=SHA256,
        cipher=AES128,
        random=bytes,
        signing_time=moment,
    )
    assert forge.signed_attribute(message, forge.SIGNING_TIME) == written


# --- every attribute once -------------------------------------------------------------------------


@pytest.mark.rfc("P-02")
@pytest.mark.parametrize(
    ("dotted", "value", "name"),
    [
        (forge.MESSAGE_TYPE, printable("19"), "messageType"),
        (forge.SENDER_NONCE, octets(b"n" * 16), "senderNonce"),
        (forge.RECIPIENT_NONCE, octets(b"n" * 16), "recipientNonce"),
        (forge.PKI_STATUS, printable("0"), "pkiStatus"),
        (forge.FAIL_INFO, printable("0"), "failInfo"),
        (forge.FAIL_INFO_TEXT, utf8("x"), "failInfoText"),
    ],
)
@pytest.mark.parametrize("how", ["two attributes", "two values"])
def test_a_repeated_attribute_is_refused(pair, dotted, value, name, how):
    """Each SCEP attribute occurs once with exactly one value."""
    others = [a for a in forge.scep_attributes() if forge.oid(dotted) not in a]
    two = [forge.attribute(dotted, value, value)]
    if how == "two attributes":
        two = [forge.attribute(dotted, value)] * 2
    refused = pair.answer_to(forge.request(attributes=[*others, *two]))
    assert refused == Failure(2, f"{name} occurs 2 times")


@pytest.mark.rfc("P-02", "P-72")
@pytest.mark.parametrize("dotted", CMS)
def test_a_repeated_cms_attribute_is_refused(pair, dotted):
    """contentType and messageDigest, too, occur once."""
    value = forge.oid(forge.DATA) if dotted == forge.CONTENT_TYPE else octets(b"x" * 32)
    refused = pair.answer_to(forge.request(more=[forge.attribute(dotted, value)]))
    assert refused == Failure(1, f"2 values of the signed attribute {dotted}")


@pytest.mark.rfc("P-02")
@pytest.mark.parametrize("count", [0, 2])
def test_exactly_one_signer(pair, count):
    """Exactly one SignerInfo; zero or several are rejected."""
    info = forge.signer_info(b"", forge.scep_attributes(), keys.device())
    message = forge.signed_data(b"", [info] * count, [keys.device().der])
    response = pair.ask(message)
    assert (response.status, response.body) == (
        400,
        f"{count} SignerInfos where SCEP has one".encode(),
    )


@pytest.mark.rfc("P-08")
def test_unknown_attributes_are_ignored(pair):
    """Unknown signed attributes (randomNonce, CMSAlgorithmProtection) change nothing."""
    more = [
        forge.attribute("1.2.840.113549.1.9.25.3", octets(b"8 octets")),
        forge.attribute("1.2.840.113549.1.9.52", forge.seq()),
        forge.attribute("1.3.6.1.4.1.99999.1", printable("x"), printable("y")),
        forge.attribute("1.3.6.1.4.1.99999.2"),
    ]
    assert isinstance(pair.answer_to(forge.request(more=more)), Success)


@pytest.mark.rfc("P-08")
def test_microsofts_hresult_is_shown(pair):
    """NDES's HRESULT attribute is read from a FAILURE and shown as Windows documents it."""
    more = [forge.attribute("1.3.6.1.4.1.311.21.33", printable("-2147024809"))]
    read = pair.believe(forge.reply(pki_status="2", fail_info="2", more=more))
    assert read.hresult == "-2147024809"
    assert str(read) == "badRequest: HRESULT 0x80070057"


@pytest.mark.rfc("P-63", "S-3.2-4")
def test_without_signed_attributes_nothing_is_accepted(pair):
    """A SignerInfo without signedAttrs is never accepted, though its signature may hold."""
    message = forge.request(attributes=None)
    response = pair.ask(message)
    assert response.status == 400
    with pytest.raises(BadReply):
        pair.believe(forge.pki_message(b"", None, keys.ra()))


@pytest.mark.rfc("P-63")
def test_the_check_of_signatures_itself_insists_on_signed_attributes():
    """A signature over plain content is no signature of a pkiMessage."""
    from scepkit.protocol.cms import signed as cms

    signed = cms.read_signed_data(forge.pki_message(b"content", None, keys.ra()))
    with pytest.raises(BadMessageCheck, match="no signed attributes"):
        cms.verify(signed, signed.signers[0], keys.ra().certificate, NO_LEGACY)


@pytest.mark.rfc("P-63")
def test_a_signature_over_attributes_does_not_pass_for_one_over_content(pair):
    """The signed attributes of a genuine CertRep, taken for content, prove nothing."""
    reply = forge.reply()
    signer = forge.signer_of(reply)
    attributes = forge.tlv(0x31, *(one.der() for one in signer[3].children))
    info = forge.seq(*(signer[i].der() for i in (0, 1, 2)), *(signer[i].der() for i in (4, 5)))
    replayed = forge.signed_data(attributes, [info], [keys.ra().der])
    with pytest.raises(BadReply):
        pair.believe(replayed)
    with pytest.raises(Malformed):
        pkimessage.parse(replayed)
