"""GetCACaps, GetCACert and GetNextCACert: true keyword by keyword, in the shape that was chosen."""

from __future__ import annotations

from pathlib import Path

import pytest

import forge
import keys
from openssl import OpenSSL
from scepkit.ca.authority import Authority
from scepkit.ca.directory.material import Material, RACredential
from scepkit.errors import HTTPRefused, SettingsError
from scepkit.protocol.scep import ca_certificates
from scepkit.protocol.scep.http import Operation
from scepkit.server.directory.ca_loading import LoadedCA
from scepkit.server.settings.endpoint import PRESETS, EndpointSettings
from scepkit.server.web.ca_publication import keywords, publish

CA_USAGE = keys.usage("digital_signature", "key_encipherment", "key_cert_sign", "crl_sign")
RA_USAGE = keys.usage("digital_signature", "key_encipherment")

ROOT = keys.certify("Root", keys.rsa_key("root"), ca=True, key_usage=CA_USAGE, key_identifier=True)
ISSUING = keys.certify(
    "Issuing", keys.rsa_key("issuing"), ROOT, ca=True, key_usage=CA_USAGE, key_identifier=True
)
MIDDLE = keys.certify(
    "Middle", keys.rsa_key("middle"), ROOT, ca=True, key_usage=CA_USAGE, key_identifier=True
)
RA = keys.certify("Issuing RA", keys.rsa_key("its ra"), ISSUING, key_usage=RA_USAGE)
NEXT_RA = keys.certify("Middle RA", keys.rsa_key("next ra"), MIDDLE, key_usage=RA_USAGE)


def material(ca, ra=None, coming=None):
    authority = Authority(ca.x509, ca.key)
    chain = (ca.x509,) if ra is None else (ra.x509, ca.x509)
    own = ra or ca
    return Material(authority, RACredential(own.x509, own.key), chain, next=coming)


def held(ca=ROOT, ra=None, above=(), coming=None, above_next=()):
    upward, upward_next = (tuple(one.x509 for one in upper) for upper in (above, above_next))
    return LoadedCA("default", Path("nowhere"), material(ca, ra, coming), upward, upward_next)


def shown(ca, **settings):
    """Return who is shown, and the media type."""
    answer = publish(ca, EndpointSettings(**settings), keys.NOW).answer(Operation.GET_CA_CERT)
    names = [str(one.subject_name)[3:] for one in ca_certificates.parse(answer.body)]
    return names, answer.content_type.removeprefix("application/x-x509-")


# --- GetCACert ------------------------------------------------------------------------------------


@pytest.mark.rfc("S-2.2-3", "S-4.2.1.1-1", "S-4.2.1.2-1")
def test_one_certificate_or_a_chain():
    """A root goes out bare; an intermediate CA with the chain of all CA certificates."""
    assert shown(held()) == (["Root"], "ca-cert")
    assert shown(held(ISSUING, above=[ROOT])) == (["Issuing", "Root"], "ca-ra-cert")
    assert shown(held(ISSUING, RA, [ROOT])) == (["Issuing RA", "Issuing", "Root"], "ca-ra-cert")


@pytest.mark.rfc("P-28", "A-09")
def test_the_root_is_a_switch():
    """include_root says whether the root above an intermediate is shown: yes, unless told."""
    ca = held(ISSUING, RA, [MIDDLE, ROOT])
    assert shown(ca)[0] == ["Issuing RA", "Issuing", "Middle", "Root"]
    assert shown(ca, include_root=False)[0] == ["Issuing RA", "Issuing", "Middle"]
    # A CA that is a root itself is no root above anything.
    assert shown(held(), include_root=False) == (["Root"], "ca-cert")


@pytest.mark.parametrize(
    ("shape", "alone", "with_ra"),
    [
        ("auto", ["Issuing", "Root"], ["Issuing RA", "Issuing", "Root"]),
        ("ca", ["Issuing"], None),
        ("chain", ["Issuing", "Root"], None),
        ("ra+ca", ["Issuing"], ["Issuing RA", "Issuing"]),
        ("ra+chain", ["Issuing", "Root"], ["Issuing RA", "Issuing", "Root"]),
    ],
)
def test_shapes(shape, alone, with_ra):
    """ca_certificates chooses what is shown; the RA, to which is encrypted, cannot be hidden."""
    names, media_type = shown(held(ISSUING, above=[ROOT]), ca_certificates=shape)
    assert names == alone
    assert media_type == ("ca-cert" if len(alone) == 1 else "ca-ra-cert")
    if with_ra is None:
        with pytest.raises(SettingsError, match=r"ca_certificates = .* hides the RA of the CA"):
            shown(held(ISSUING, RA, [ROOT]), ca_certificates=shape)
    else:
        assert shown(held(ISSUING, RA, [ROOT]), ca_certificates=shape)[0] == with_ra


def test_presets():
    """A preset changes defaults, and what is written down wins over it."""
    for name in PRESETS:
        assert EndpointSettings(preset=name).preset == name
    ca = held(ISSUING, above=[ROOT])
    # Apple takes every ca-ra-cert for an RA's.
    assert shown(ca, preset="apple") == (["Issuing"], "ca-cert")
    assert shown(ca, preset="apple", ca_certificates="chain")[0] == ["Issuing", "Root"]
    assert shown(ca, preset="windows")[0] == ["Issuing", "Root"]
    assert EndpointSettings(preset="cisco-vpn").reply_chain
    assert not EndpointSettings(preset="cisco-vpn", reply_chain=False).reply_chain
    assert not EndpointSettings(preset="juniper").reply_chain


# --- GetCACaps ------------------------------------------------------------------------------------


@pytest.mark.rfc("S-3.5.2-2", "S-3.5.2-3", "S-3.5.2-9", "S-3.5.2-10", "P-42")
@pytest.mark.parametrize(
    ("settings", "more"),
    [
        ({"renewal": False}, set()),
        ({}, {"Renewal"}),
        ({"legacy": {"sha1"}}, {"Renewal", "SHA-1"}),
        ({"legacy": {"des3"}}, {"Renewal", "DES3"}),
        ({"legacy": {"des", "md5"}}, {"Renewal"}),
        ({"legacy": {"des", "md5", "sha1", "des3"}, "renewal": False}, {"SHA-1", "DES3"}),
    ],
)
@pytest.mark.parametrize("has_next", [False, True])
def test_capabilities(settings, more, has_next):
    """Each keyword is offered if and only if it works: Renewal, GetNextCACert, SHA-1, DES3."""
    always = {"AES", "POSTPKIOperation", "SHA-256", "SHA-384", "SHA-512", "SCEPStandard"}
    offered = keywords(EndpointSettings(**settings), has_next=has_next)
    assert len(set(offered)) == len(offered)
    own = {"WhenToRenew"} if "Renewal" in more else set()
    assert set(offered) == always | more | own | ({"GetNextCACert"} if has_next else set())


@pytest.mark.rfc("S-3.5.2-1", "S-3.5.2-13")
def test_the_form_of_capabilities():
    """Plain text, one keyword a line, LF."""
    answer = publish(held(), EndpointSettings(), keys.NOW).answer(Operation.GET_CA_CAPS)
    assert answer.content_type == "text/plain"
    assert answer.body.decode("ascii").split("\n")[-1] == ""
    assert b"\r" not in answer.body


# --- GetNextCACert --------------------------------------------------------------------------------


@pytest.mark.rfc("S-4.7.1-1", "S-4.7.1-2", "A-07", "A-08", "S-2.2-8")
def test_the_next_ca(tmp_path):
    """Two SignedData: the outer signed by the current CA's key, the inner certs-only; no RA signs.

    GetCACert goes on to show the current one alone.
    """
    ca = held(ISSUING, RA, coming=material(MIDDLE, NEXT_RA))
    published = publish(ca, EndpointSettings(), keys.NOW)
    answer = published.answer(Operation.GET_NEXT_CA_CERT)
    assert answer.content_type == "application/x-x509-next-ca-cert"
    judge = OpenSSL(tmp_path)
    assert forge.signing_time_of(answer.body) == (0x17, keys.NOW)
    inner = judge.verify(answer.body, ISSUING)
    for other in (RA, MIDDLE, NEXT_RA):
        with pytest.raises(AssertionError):
            judge.verify(answer.body, other)
    found = ca_certificates.parse(inner)
    assert [one.der for one in found] == [NEXT_RA.der, MIDDLE.der]
    listed = judge.run("pkcs7", "-inform", "DER", "-print_certs", "-noout", stdin=inner).decode()
    assert listed.count("subject=") == 2
    shown_now = ca_certificates.parse(published.answer(Operation.GET_CA_CERT).body)
    assert [*shown_now] == [RA.certificate, ISSUING.certificate]


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({}, ["Middle RA", "Middle", "Root"]),
        ({"include_root": False}, ["Middle RA", "Middle"]),
        ({"ca_certificates": "ra+ca"}, ["Middle RA", "Middle"]),
    ],
)
def test_the_next_ca_is_shown_with_its_chain(tmp_path, settings, names):
    """Up to its root, unless the endpoint leaves that out of GetCACert, too."""
    ca = held(ISSUING, RA, [ROOT], material(MIDDLE, NEXT_RA), above_next=[ROOT])
    published = publish(ca, EndpointSettings(**settings), keys.NOW)
    answer = published.answer(Operation.GET_NEXT_CA_CERT)
    inner = OpenSSL(tmp_path).verify(answer.body, ISSUING)
    assert [str(one.subject_name)[3:] for one in ca_certificates.parse(inner)] == names


@pytest.mark.rfc("P-42")
def test_no_next_ca():
    """Without one there is nothing to say: 404."""
    with pytest.raises(HTTPRefused) as refused:
        publish(held(), EndpointSettings(), keys.NOW).answer(Operation.GET_NEXT_CA_CERT)
    assert refused.value.status == 404
