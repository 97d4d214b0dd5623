"""RFC 8894 section 2.2: what a client may believe of the CA certificates that it was sent."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given
from hypothesis import strategies as st

import keys
from keys import DAY, NOW, certify, usage
from pair import Pair
from scepkit.errors import BadReply, Malformed, UntrustedCA
from scepkit.protocol import chain
from scepkit.protocol.certificate import fingerprint
from scepkit.protocol.cms import signed
from scepkit.protocol.distinguished_name import Name
from scepkit.protocol.scep import ca_certificates, transaction

CA_BITS = usage("key_cert_sign", "crl_sign")


@dataclass
class Hierarchy:
    """A root, an intermediate CA under it, and an RA under that."""

    root: keys.Holder
    intermediate: keys.Holder
    ra: keys.Holder

    @property
    def certificates(self):
        return (self.ra.certificate, self.intermediate.certificate, self.root.certificate)


def hierarchy(**intermediate):
    root = certify("Root", keys.rsa_key("root"), ca=True, key_usage=CA_BITS)
    middle = certify(
        "Middle", keys.rsa_key("middle"), root, ca=True, key_usage=CA_BITS, **intermediate
    )
    ra = certify(
        "RA", keys.rsa_key("ra"), middle, key_usage=usage("digital_signature", "key_encipherment")
    )
    return Hierarchy(root, middle, ra)


@pytest.mark.rfc("S-2.2-4")
def test_the_fingerprint_is_sha256_over_the_whole_certificate(ca):
    """The fingerprint is SHA-256 over the complete DER certificate."""
    whole = hashlib.sha256(ca.der).hexdigest()
    assert fingerprint(ca.der) == f"sha256:{whole}"
    assert ca_certificates.find([ca.certificate], whole) == ca.certificate


@pytest.mark.rfc("S-2.2-4")
@pytest.mark.parametrize("algorithm", ["sha1", "md5", "sha512"])
def test_other_fingerprints_are_not_relied_on(ca, algorithm):
    """SHA-1 and MD5 fingerprints are for legacy devices' displays and trusted by nobody here."""
    digits = hashlib.new(algorithm, ca.der).hexdigest()
    with pytest.raises(UntrustedCA, match="not a SHA-256 fingerprint"):
        ca_certificates.find([ca.certificate], digits)


@pytest.mark.rfc("S-2.2-4")
@pytest.mark.parametrize("part", ["tbs_certificate_bytes", "spki"])
def test_a_fingerprint_over_a_part_of_the_certificate_is_not_one(ca, part):
    """The fingerprint is not over the SubjectPublicKeyInfo or the TBSCertificate."""
    data = keys.spki(ca.key) if part == "spki" else ca.x509.tbs_certificate_bytes
    with pytest.raises(UntrustedCA, match="not the expected one"):
        ca_certificates.find([ca.certificate], hashlib.sha256(data).hexdigest())


@pytest.mark.rfc("S-2.2-4")
def test_fingerprints_are_read_as_people_write_them(ca):
    """A fingerprint may be given with colons, spaces, a prefix, in either case."""
    digits = hashlib.sha256(ca.der).hexdigest()
    pairs = [digits[i : i + 2] for i in range(0, 64, 2)]
    written = [digits, digits.upper(), ":".join(pairs), " ".join(pairs).upper()]
    written += [
        f"sha256:{digits}",
        f"SHA-256:{':'.join(pairs)}",
        f" sha256={digits} ",
        digits + "\n",
    ]
    for text in written:
        assert ca_certificates.find([ca.certificate], text) == ca.certificate


@pytest.mark.rfc("S-2.2-5", "S-2.2-1")
def test_a_foreign_ca_is_found_out_before_any_pkioperation(pair):
    """The received CA certificate is authenticated first; a mismatch sends no PKIOperation."""
    found = pair.run(transaction.ca_information())
    with pytest.raises(UntrustedCA, match=fingerprint(pair.ca.der)):
        ca_certificates.find(found.certificates, "0" * 64)
    assert pair.trips == []
    assert [b"GetCACaps" in r.query or b"GetCACert" in r.query for r in pair.http] == [True, True]


@pytest.mark.rfc("S-2.2-6")
def test_only_the_top_ca_is_compared_and_the_rest_chains_to_it():
    """Only the top-level CA is matched out of band; intermediates are authenticated by chaining."""
    world = hierarchy()
    assert ca_certificates.top(world.certificates) == world.root.certificate
    assert ca_certificates.top(world.certificates[::-1]) == world.root.certificate
    trusted = ca_certificates.trust(world.certificates, world.root.certificate, NOW)
    assert set(trusted.authorities) == {world.root.certificate, world.intermediate.certificate}
    assert trusted.issuer == world.intermediate.certificate
    assert trusted.recipient.der == world.ra.der


@pytest.mark.rfc("S-2.2-6")
def test_an_ra_or_device_certificate_is_no_anchor(ra, ca):
    """What is compared out of band is a CA certificate: the RA's own fingerprint is refused."""
    with pytest.raises(UntrustedCA):
        ca_certificates.find([ra.certificate, ca.certificate], fingerprint(ra.der))
    with pytest.raises(UntrustedCA, match="no CA certificate"):
        ca_certificates.top([ra.certificate])


@pytest.mark.rfc("S-2.2-7")
@pytest.mark.parametrize(
    "fault",
    [
        {"not_after": NOW - DAY / 2},
        {"path_length": None, "issuer_name": keys.name("Somebody")},
    ],
)
def test_an_intermediate_that_no_longer_holds_is_left_out(fault):
    """Intermediate CA certificates are verified again (signature, validity) before each use."""
    world = hierarchy(**fault)
    trusted = ca_certificates.trust(world.certificates, world.root.certificate, NOW)
    assert trusted.authorities == (world.root.certificate,)
    assert world.ra.der not in {signer.der for signer in trusted.signers}
    assert trusted.recipient.der == world.root.der


@pytest.mark.rfc("S-2.2-7")
def test_an_intermediate_that_another_key_signed_is_left_out():
    """An intermediate that names the trusted CA as its issuer, but that it did not sign, is out."""
    world = hierarchy()
    double = certify("Root", keys.rsa_key("stranger"), ca=True, key_usage=CA_BITS)
    middle = certify("Middle", keys.rsa_key("middle"), double, ca=True, key_usage=CA_BITS)
    sent = (world.ra.certificate, middle.certificate, world.root.certificate)
    trusted = ca_certificates.trust(sent, world.root.certificate, NOW)
    assert trusted.authorities == (world.root.certificate,)
    assert trusted.recipient.der == world.root.der


@pytest.mark.rfc("S-2.2-7")
def test_an_intermediate_is_verified_again_at_the_time_of_use():
    """The same certificates that were good yesterday are judged by today's clock."""
    world = hierarchy(not_after=NOW + DAY)
    later = NOW + 2 * DAY
    assert (
        ca_certificates.trust(world.certificates, world.root.certificate, NOW).issuer
        == world.intermediate.certificate
    )
    assert (
        ca_certificates.trust(world.certificates, world.root.certificate, later).issuer
        == world.root.certificate
    )


@pytest.mark.rfc("S-2.2-7")
def test_a_renewed_intermediate_takes_over_from_its_expired_twin():
    """Of two intermediates with one name and one key, the one that is valid is used."""
    old = hierarchy(not_after=NOW - DAY / 2)
    new = hierarchy()
    pool = [old.intermediate.certificate, new.intermediate.certificate]
    for order in (pool, pool[::-1]):
        trusted = ca_certificates.trust(
            [old.ra.certificate, *order, old.root.certificate], old.root.certificate, NOW
        )
        assert trusted.recipient.der == old.ra.der
        assert old.intermediate.certificate not in trusted.authorities


@pytest.mark.rfc("S-2.2-2", "L-01")
def test_what_does_not_chain_to_the_anchor_is_not_used(ca):
    """GetCACert travels unprotected: an RA certificate that the CA did not sign is ignored."""
    stranger = certify("Test RA", keys.rsa_key("stranger"), key_usage=usage("digital_signature"))
    forged = certify("Test RA", keys.rsa_key("stranger"), stranger, issuer_name=ca.x509.subject)
    trusted = ca_certificates.trust(
        [forged.certificate, stranger.certificate, ca.certificate], ca.certificate, NOW
    )
    assert [signer.der for signer in trusted.signers] == [ca.der]
    assert trusted.recipient.der == ca.der


@pytest.mark.rfc("S-2.2-2", "P-16")
def test_a_devices_certificate_is_not_taken_for_an_ra(ca, ra):
    """Somebody on the way who holds a certificate of the same CA cannot pass for its RA."""
    bits = usage("digital_signature", "key_encipherment")
    key = keys.rsa_key("device")
    device = certify("RA", key, ca, key_usage=bits, purposes=[ExtendedKeyUsageOID.CLIENT_AUTH])
    trusted = ca_certificates.trust(
        [device.certificate, ra.certificate, ca.certificate], ca.certificate, NOW
    )
    assert trusted.recipient.der == ra.der
    assert device.der not in {signer.der for signer in trusted.signers}


@pytest.mark.rfc("P-29")
def test_an_ra_that_says_so_is_one(ca):
    """NDES's RA certificates are for Certificate Request Agents."""
    bits = usage("digital_signature", "key_encipherment")
    agent = x509.ObjectIdentifier("1.3.6.1.4.1.311.20.2.1")
    ra = certify("RA", keys.rsa_key("ra"), ca, key_usage=bits, purposes=[agent])
    assert (
        ca_certificates.trust([ca.certificate, ra.certificate], ca.certificate, NOW).recipient.der
        == ra.der
    )


@pytest.mark.rfc("S-2.2-2")
def test_an_injected_anchor_with_the_cas_name_does_not_help(ca, ra):
    """A certificate with the CA's name and another key is not the CA, whatever it signed."""
    double = certify("Test CA", keys.rsa_key("stranger"), ca=True, key_usage=CA_BITS)
    evil = certify("Evil RA", keys.rsa_key("stranger"), double, key_usage=usage("key_encipherment"))
    sent = [evil.certificate, double.certificate, ra.certificate, ca.certificate]
    trusted = ca_certificates.trust(sent, ca.certificate, NOW)
    assert trusted.recipient.der == ra.der
    assert trusted.authorities == (ca.certificate,)


@pytest.mark.rfc("S-2.2-3", "L-01")
def test_a_client_reads_one_certificate_and_a_certs_only_message_alike(ca, ra):
    """GetCACert is the bare CA certificate, or a certs-only message with all of them."""
    assert ca_certificates.parse(ca.der) == (ca.certificate,)
    assert ca_certificates.parse(signed.certs_only([ra.der, ca.der])) == (
        ra.certificate,
        ca.certificate,
    )
    assert Pair(ra=None).exchange.ca.recipient.der == ca.der
    assert Pair().exchange.ca.recipient.der == ra.der


@pytest.mark.rfc("L-01")
def test_a_list_that_is_too_long_is_named_as_such(ca):
    """A client takes 32 certificates, and says so instead of seeing no certificate at all."""
    assert len(ca_certificates.parse(signed.certs_only([ca.der] * 32))) == 32
    with pytest.raises(Malformed, match="33 certificates in one message"):
        ca_certificates.parse(signed.certs_only([ca.der] * 33))


@pytest.mark.rfc("P-29")
def test_the_order_of_the_list_says_nothing():
    """With several certificates the roles follow from what they are, never from their order."""
    world = hierarchy()
    first = ca_certificates.trust(world.certificates, world.root.certificate, NOW)
    second = ca_certificates.trust(world.certificates[::-1], world.root.certificate, NOW)
    assert (first.recipient, first.issuer) == (second.recipient, second.issuer)
    assert {s.der for s in first.signers} == {s.der for s in second.signers}


SIGNS, ENCRYPTS = usage("digital_signature"), usage("key_encipherment")


@pytest.mark.rfc("P-29", "L-01")
def test_separate_certificates_for_signing_and_encryption(ca):
    """With NDES's two RA certificates one is encrypted to and the other signs the replies."""
    signing = certify("RA s", keys.rsa_key("ra"), ca, key_usage=SIGNS)
    encrypting = certify("RA e", keys.rsa_key("ra2"), ca, key_usage=ENCRYPTS)
    for order in ([signing, encrypting, ca], [ca, encrypting, signing]):
        trusted = ca_certificates.trust([one.certificate for one in order], ca.certificate, NOW)
        assert trusted.recipient.der == encrypting.der
        assert {s.der for s in trusted.signers} == {signing.der, ca.der}


@pytest.mark.rfc("P-29")
def test_key_encipherment_goes_before_data_encipherment(ca):
    """The recipient has keyEncipherment, or else dataEncipherment."""
    data = certify("RA d", keys.rsa_key("ra"), ca, key_usage=usage("data_encipherment"))
    key = certify("RA k", keys.rsa_key("ra2"), ca, key_usage=ENCRYPTS)
    both = ca_certificates.trust(
        [data.certificate, key.certificate, ca.certificate], ca.certificate, NOW
    )
    assert both.recipient.der == key.der
    one = ca_certificates.trust([data.certificate, ca.certificate], ca.certificate, NOW)
    assert one.recipient.der == data.der


@pytest.mark.rfc("P-29")
def test_without_a_fitting_usage_the_issuing_ca_is_the_recipient(ca):
    """If no certificate has the usage bit, the request is encrypted to the issuing CA."""
    signing = certify("RA s", keys.rsa_key("ra"), ca, key_usage=SIGNS)
    trusted = ca_certificates.trust([signing.certificate, ca.certificate], ca.certificate, NOW)
    assert trusted.recipient.der == ca.der


def dated(begins, usages=ENCRYPTS, issuer=None, which="ra", **how):
    """Return an RA's certificate by the day on which it begins."""
    begins = NOW + begins * DAY
    return certify(
        "RA", keys.rsa_key(which), issuer or keys.ca(), key_usage=usages, not_before=begins, **how
    )


LAB = x509.NameConstraints([x509.DirectoryName(Name.parse("O=Lab").x509())], None)
CODE_SIGNING = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING])
UNKNOWN = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.99999.1"), b"\5\0")


@pytest.mark.rfc("S-2.2-5")
@pytest.mark.parametrize(
    ("extension", "critical"),
    [(LAB, True), (LAB, False), (CODE_SIGNING, False), (UNKNOWN, True)],
    ids=["names", "names, not critical", "purposes", "unknown"],
)
def test_who_may_certify_something_else_certifies_no_ra(extension, critical):
    """A CA below the one that is trusted, which may certify a laboratory, is not taken for more."""
    root = certify("Root", keys.rsa_key("root"), ca=True, key_usage=CA_BITS)
    more = [x509.Extension(extension.oid, critical, extension)]
    name = Name.parse("CN=Lab CA,O=Lab").x509()
    lab = certify(name, keys.rsa_key("lab"), root, ca=True, key_usage=CA_BITS, more=more)
    good, evil = dated(-2, issuer=root), dated(-1, issuer=lab, which="stranger")
    trusted = ca_certificates.trust(
        [one.certificate for one in (evil, lab, good, root)], root.certificate, NOW
    )
    assert trusted.recipient == good.certificate
    assert evil.certificate not in trusted.signers


@pytest.mark.rfc("S-2.2-5")
@pytest.mark.parametrize(
    "purpose",
    [
        ExtendedKeyUsageOID.CLIENT_AUTH,
        ExtendedKeyUsageOID.EMAIL_PROTECTION,
        ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,
        x509.ObjectIdentifier("1.3.6.1.4.1.311.20.2.1"),
    ],
    ids=lambda oid: oid.dotted_string,
)
def test_an_ra_below_a_ca_that_says_for_what_it_certifies(purpose):
    """It is one where the CA may certify somebody who shows who he is, signs CMS, or is an RA."""
    world = hierarchy(purposes=[purpose])
    trusted = ca_certificates.trust(world.certificates, world.root.certificate, NOW)
    assert trusted.recipient == world.ra.certificate


@pytest.mark.rfc("P-29")
@given(st.data())
def test_of_several_ras_the_newest_is_used(data):
    """The RA that began last, of those that are valid and the CA's, wherever the list has it."""
    stranger = certify("Test CA", keys.rsa_key("stranger"), ca=True, key_usage=CA_BITS)
    unfit = [
        dated(-1, not_after=NOW - DAY / 2),
        dated(1),
        dated(-1, issuer=stranger),
        dated(-1, SIGNS),
        dated(-1, usage("data_encipherment")),
    ]
    days = st.integers(-300, -2)
    ras = [dated(day) for day in data.draw(st.lists(days, min_size=1, max_size=5, unique=True))]
    sent = data.draw(st.permutations([*unfit, *ras, keys.ca()]))
    trusted = ca_certificates.trust([one.certificate for one in sent], keys.ca().certificate, NOW)
    newest = max(ras, key=lambda one: one.x509.not_valid_before_utc)
    assert trusted.recipient.der == newest.der


@pytest.mark.rfc("P-29")
@given(st.data())
def test_of_ras_of_one_age_always_the_same_is_used(data):
    """The one that ends last, and else one that does not depend on the order either."""
    twins = [dated(-2, serial=n) for n in (1, 2, 3)]
    longer = [dated(-2, serial=n, not_after=NOW + 400 * DAY) for n in (4, 5)]
    sent = data.draw(st.permutations([*twins, *longer[: data.draw(st.integers(0, 2))]]))
    trust = [
        ca_certificates.trust(
            [one.certificate for one in [*order, keys.ca()]], keys.ca().certificate, NOW
        )
        for order in (sent, sent[::-1])
    ]
    assert trust[0].recipient.der == trust[1].recipient.der
    if len(sent) > len(twins):
        assert trust[0].recipient.der in {one.der for one in longer}


@pytest.mark.rfc("P-29")
def test_the_newest_ra_says_which_ca_issues():
    """Of two CAs under one root the issuer is the newest RA's; without RAs, the newest CA."""
    root = certify("Root", keys.rsa_key("root"), ca=True, key_usage=CA_BITS)
    old, new = (
        certify(
            name, keys.rsa_key(name), root, ca=True, key_usage=CA_BITS, not_before=NOW - days * DAY
        )
        for name, days in (("old", 20), ("new", 10))
    )
    ras = [dated(-9, issuer=new), dated(-8, issuer=old)]
    for order in (1, -1):
        cas = [one.certificate for one in (root, old, new)][::order]
        assert ca_certificates.trust(cas, root.certificate, NOW).issuer == new.certificate
        both = ca_certificates.trust(
            [*cas, *(ra.certificate for ra in ras[::order])], root.certificate, NOW
        )
        assert (both.issuer, both.recipient.der) == (old.certificate, ras[1].der)


@pytest.mark.rfc("P-29")
def test_a_request_is_encrypted_to_exactly_one(pair):
    """The envelope has one RecipientInfo."""
    import forge

    pair.enrol()
    envelope = forge.content_of(pair.trips[0].request)
    assert len(forge.body_of(envelope)[1].children) == 1


@pytest.mark.rfc("P-62")
def test_an_issued_certificate_has_to_chain_to_the_anchor(pair):
    """The issued certificate chains to the authenticated CA, or it is not installed."""
    stranger = certify("Test CA", keys.rsa_key("stranger"), ca=True, key_usage=CA_BITS)
    pair.server.issue = lambda wanted: certify(wanted.subject.x509(), keys.rsa_key(), stranger).der
    with pytest.raises(BadReply, match="not issued by the CA that is trusted"):
        pair.enrol()


@pytest.mark.rfc("P-62")
def test_an_issued_certificate_must_not_be_over(pair):
    """An issued certificate that is over is not installed."""
    pair.server.issue = lambda wanted: (
        certify(wanted.subject.x509(), keys.rsa_key(), keys.ca(), not_after=NOW - DAY / 2).der
    )
    with pytest.raises(BadReply, match="expired at"):
        pair.enrol()


@pytest.mark.rfc("P-62")
def test_a_certificate_that_begins_later_than_the_clients_clock_says(pair):
    """It is installed: the CA issued it just now, so that clock is slow."""
    pair.server.issue = lambda wanted: (
        certify(wanted.subject.x509(), keys.rsa_key(), keys.ca(), not_before=NOW + DAY).der
    )
    assert pair.enrol().certificate.not_before == NOW + DAY


@pytest.mark.rfc("P-29")
def test_a_clock_that_is_behind_the_ca_that_is_trusted():
    """It says nothing of the RA's certificate either; one that is over by then is left out."""
    from scepkit.protocol.scep import ca_certificates

    ra, ca = keys.ra().certificate, keys.ca().certificate
    over = {"not_before": NOW - 9 * DAY, "not_after": NOW - 2 * DAY}
    old = certify("old", keys.rsa_key("old"), keys.ca(), **over).certificate
    found = ca_certificates.trust([ra, old, ca], ca, NOW - 5000 * DAY)
    assert found.recipient == ra
    assert old not in found.signers


@pytest.mark.rfc("P-29")
@pytest.mark.parametrize("years", [1, 3, 50], ids=["after the root", "before the root", "1976"])
def test_a_clock_that_is_behind_the_ra_alone(years):
    """It may be that of the day on which the device was built, long after the CA was."""
    start = {"not_before": NOW - 730 * DAY, "not_after": NOW + 3650 * DAY}
    root = certify("Root", keys.rsa_key("root"), ca=True, key_usage=CA_BITS, **start)
    bits = usage("digital_signature", "key_encipherment")
    ra = certify("RA", keys.rsa_key("ra"), root, key_usage=bits).certificate
    # Of the next CA below the root: most is not valid by then.
    coming = {"not_before": NOW + 900 * DAY, "not_after": NOW + 990 * DAY}
    new = certify("new", keys.rsa_key("middle"), root, ca=True, key_usage=CA_BITS, **coming)
    over = {"not_before": NOW - 700 * DAY, "not_after": NOW - 500 * DAY}
    old = certify("old", keys.rsa_key("old"), root, key_usage=bits, **over).certificate
    given, anchor = [old, ra, root.certificate, new.certificate], root.certificate
    found = ca_certificates.trust(given, anchor, NOW - years * 365 * DAY)
    assert found.recipient == ra
    # By a clock that is right, what is not valid yet does not count, and what is over never does.
    found = ca_certificates.trust(given, anchor, NOW)
    assert (found.recipient, new.certificate in found.signers) == (ra, False)
    assert ca_certificates.trust([old, anchor], anchor, NOW).recipient == anchor


@pytest.mark.rfc("P-29")
def test_a_clock_that_is_behind_the_ca_below_the_root():
    """The CA that issues, and decrypts itself, began after the day that the clock says."""
    early = {"not_before": NOW - 730 * DAY}
    root = certify("Root", keys.rsa_key("root"), ca=True, key_usage=CA_BITS, **early)
    below = certify("Middle", keys.rsa_key("middle"), root, ca=True, key_usage=CA_BITS).certificate
    found = ca_certificates.trust([below, root.certificate], root.certificate, NOW - 365 * DAY)
    assert found.issuer == found.recipient == below


@pytest.mark.rfc("P-62")
def test_an_issued_certificate_has_to_hold_the_requested_key(pair):
    """A certificate for another key is not installed, whoever signed it."""
    pair.server.issue = lambda wanted: (
        certify(wanted.subject.x509(), keys.rsa_key("other"), keys.ca()).der
    )
    with pytest.raises(BadReply, match="no certificate for the key"):
        pair.enrol()


@pytest.mark.rfc("P-62")
def test_nothing_else_of_it_need_equal_the_request(pair):
    """The CA may issue another subject than was asked for."""
    pair.server.issue = lambda wanted: certify("another", keys.rsa_key(), keys.ca()).der
    assert pair.enrol().certificate.subject == keys.name("another").public_bytes()


@pytest.mark.rfc("P-62")
def test_a_device_cannot_issue_for_another(pair):
    """A certificate signed by an end entity of the CA does not chain to it."""
    customer = keys.customer()
    pair.server.decisions = [
        lambda server, *_: cms_success(
            certify("device", keys.rsa_key(), customer).der, customer.der
        )
    ]
    with pytest.raises(BadReply, match="not issued by the CA that is trusted"):
        pair.enrol()


def cms_success(*certificates):
    from scepkit.protocol.scep.messages import Success

    return Success(tuple(certificates))


@pytest.mark.rfc("S-2.2-6", "S-3.3.2.1-5")
def test_an_intermediate_that_comes_with_the_reply_may_complete_the_chain(ca):
    """The issuer chain may run through a CA certificate that the reply brings."""
    middle = certify("Middle", keys.rsa_key("middle"), ca, ca=True, key_usage=CA_BITS)
    leaf = certify("device", keys.rsa_key(), middle)
    pair = Pair(lambda *_: cms_success(middle.der, leaf.der))
    issued = pair.enrol()
    assert issued.certificate == leaf.certificate
    assert issued.chain == (middle.certificate, ca.certificate)


@pytest.mark.rfc("S-2.2-7")
def test_a_path_length_is_obeyed():
    """A CA that may have no CA below it has none."""
    root = certify("Root", keys.rsa_key("root"), ca=True, path_length=0, key_usage=CA_BITS)
    middle = certify("Middle", keys.rsa_key("middle"), root, ca=True, key_usage=CA_BITS)
    leaf = certify("leaf", keys.rsa_key(), middle)
    with pytest.raises(BadReply):
        chain.build(leaf.certificate, [middle.certificate], root.certificate, NOW)
    assert chain.build(middle.certificate, [], root.certificate, NOW) == (
        middle.certificate,
        root.certificate,
    )
