"""A CA certificate from elsewhere: what is taken, what is refused and in which words, and where."""

from __future__ import annotations

import subprocess
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509.oid import ExtensionOID, NameOID

import chains
from ca import children
from chains import SIGNS, issue, name, of_ad_cs
from scepkit.ca import checks, suitability
from scepkit.ca.directory import founding, paths, requesting, rollover, rotation
from scepkit.ca.directory.adoption import Place, adopt
from scepkit.ca.directory.material import load, load_responders
from scepkit.ca.directory.rotation import rotate_ocsp
from scepkit.errors import Hint, SettingsError, UsageError
from scepkit.keys.pem import read_certificates, write_certificate, write_key
from scepkit.protocol.rfc4514 import parse_subject

DAY = timedelta(days=1)

pytestmark = pytest.mark.usefixtures("no_fsync")


@pytest.fixture
def root_key(key):
    return key("ec:p256", "root")


@pytest.fixture
def root(root_key, now):
    return issue("Root", root_key, now)


@pytest.fixture
def sub_key(key):
    return key("rsa:2048", "sub")


@pytest.fixture
def sub(sub_key, root, root_key, now):
    return issue("Sub", sub_key, now, by=(root, root_key), path_length=0)


def refused(certificate, key, above, now):
    with pytest.raises(SettingsError) as caught:
        suitability.check(certificate, key, above, now)
    assert caught.value.hint or "basicConstraints" in caught.value.message
    return caught.value.message


# --- what a certificate has to be ---


def test_the_chain_is_put_in_order(sub, sub_key, root, root_key, now, key):
    middle_key = key("ec:p256", "middle")
    middle = issue("Middle", middle_key, now, by=(root, root_key))
    low = issue("Low", sub_key, now, by=(middle, middle_key))
    for above in ([middle, root], [root, middle], [root, middle, root, low]):
        assert suitability.check(low, sub_key, above, now) == (middle, root)
    assert suitability.check(low, sub_key, [middle], now) == (middle,)
    assert suitability.check(low, sub_key, [], now) == ()
    assert suitability.check(root, root_key, [], now) == ()


def test_another_key(sub, root_key, now):
    assert "another key" in refused(sub, root_key, [], now)


def test_a_leaf(sub_key, root, root_key, now):
    leaf = issue("Leaf", sub_key, now, by=(root, root_key), ca=False)
    assert "is not a CA's" in refused(leaf, sub_key, [], now)


@pytest.mark.parametrize(
    ("usages", "lacks"),
    [
        (("crl_sign",), "lacks keyCertSign"),
        (("key_cert_sign",), "lacks cRLSign"),
        (None, "keyCertSign, cRLSign"),
    ],
)
def test_a_key_usage_that_is_not_enough(sub_key, root, root_key, now, usages, lacks):
    certificate = issue("Sub", sub_key, now, by=(root, root_key), usages=usages)
    assert lacks in refused(certificate, sub_key, [], now)


def test_a_root_without_key_usage(root_key, now):
    """It may be old; its own key signs it anew."""
    root = issue("Root", root_key, now, usages=None)
    with pytest.raises(SettingsError, match="lacks keyCertSign, cRLSign") as caught:
        suitability.check(root, root_key, [], now)
    assert "sign it anew with the same key" in caught.value.hint


def test_validity(sub_key, root, root_key, now):
    over = issue("Sub", sub_key, now, by=(root, root_key), begins=now - 10 * DAY, days=9)
    assert "expired on" in refused(over, sub_key, [], now)
    early = issue("Sub", sub_key, now, by=(root, root_key), begins=now + DAY)
    assert "is not valid before" in refused(early, sub_key, [], now)


def test_an_expired_root(sub, sub_key, root_key, now):
    root = issue("Root", root_key, now, begins=now - 10 * DAY, days=9)
    assert '"CN=Root" expired' in refused(sub, sub_key, [root], now)


@pytest.mark.parametrize("digest", ["sha1", "md5"])
def test_weak_signatures(sub_key, root, root_key, now, key, tmp_path, digest):
    rsa_root_key = key("rsa:2048", "rsa root")
    weak_root = signed_by_openssl(rsa_root_key, digest, tmp_path)
    weak = signed_by_openssl(sub_key, digest, tmp_path, by=(weak_root, rsa_root_key))
    at = weak.not_valid_before_utc + DAY
    assert f"is signed with {digest.upper()}" in refused(weak, sub_key, [weak_root], at)
    # How a root is signed means nothing.
    good = issue("Sub", sub_key, at, by=(weak_root, rsa_root_key), days=10)
    assert suitability.check(good, sub_key, [weak_root], at) == (weak_root,)


def signed_by_openssl(private, digest, directory, by=None):
    """Return a CA's certificate with a digest that the library does not sign with any more."""
    for label, key_of in (("own", private), ("above", by[1] if by else private)):
        write_key(directory / f"{label}.key", key_of)
    arguments = ["-new", "-x509", f"-{digest}", "-days", "1000", "-key", directory / "own.key"]
    if by:
        write_certificate(directory / "above.pem", by[0])
        arguments += ["-CA", directory / "above.pem", "-CAkey", directory / "above.key"]
    arguments += ["-addext", "basicConstraints=critical,CA:TRUE"]
    arguments += ["-addext", "keyUsage=critical,keyCertSign,cRLSign"]
    subject = "/CN=Weak Sub" if by else "/CN=Weak Root"
    made = subprocess.run(
        ["openssl", "req", *arguments, "-subj", subject], capture_output=True, check=True
    )
    return chains.x509.load_pem_x509_certificate(made.stdout)


ANY_POLICY = x509.ObjectIdentifier("2.5.29.32.0")
UNKNOWN = x509.ObjectIdentifier("1.3.6.1.4.1.99999.1")


def altered(certificate, by, *, drop=None, loosen=None, add=()):
    """Return a certificate issued once more, with other extensions.

    Args:
        certificate: the one of before.
        by: its issuer's certificate and key.
        drop: an extension that is left out.
        loosen: one that is not critical.
        add: extensions, each with whether it is critical.
    """
    builder = x509.CertificateBuilder(
        certificate.issuer,
        certificate.subject,
        certificate.public_key(),
        certificate.serial_number,
        certificate.not_valid_before_utc,
        certificate.not_valid_after_utc,
    )
    for one in certificate.extensions:
        if one.oid != drop:
            builder = builder.add_extension(one.value, one.critical and one.oid != loosen)
    for value, critical in add:
        builder = builder.add_extension(value, critical)
    return builder.sign(by[1], hashes.SHA256())


def verifies(tmp_path, root, sub, now, *strict):
    """Say whether openssl verifies a certificate up to a root."""
    write_certificate(tmp_path / "root.pem", root)
    write_certificate(tmp_path / "sub.pem", sub)
    files = ("-CAfile", tmp_path / "root.pem", tmp_path / "sub.pem")
    command = ["openssl", "verify", *strict, "-attime", str(int(now.timestamp())), *files]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"loosen": ExtensionOID.BASIC_CONSTRAINTS}, "basicConstraints are not critical"),
        ({"drop": ExtensionOID.SUBJECT_KEY_IDENTIFIER}, "no subjectKeyIdentifier"),
        ({"drop": ExtensionOID.AUTHORITY_KEY_IDENTIFIER}, "no authorityKeyIdentifier"),
        ({}, ""),
    ],
)
def test_what_only_strict_verifiers_refuse(
    tmp_path, sub, sub_key, root, root_key, now, change, said
):
    """It is told and taken; openssl's strict reading is the measure."""
    found = altered(sub, (root, root_key), **change)
    assert suitability.check(found, sub_key, [root], now) == (root,)
    doubts = [*suitability.doubts(found)]
    assert verifies(tmp_path, root, found, now)
    assert verifies(tmp_path, root, found, now, "-x509_strict") is (not doubts)
    assert [said in one for one in doubts] == ([True] if said else [])


@pytest.mark.parametrize("critical", [True, False])
@pytest.mark.parametrize("which", ["sub", "root"])
def test_a_critical_extension_that_nobody_knows(
    tmp_path, sub, sub_key, root, root_key, now, critical, which
):
    """In the CA's certificate or above it: whoever verifies refuses all that is below."""
    add = [(x509.UnrecognizedExtension(UNKNOWN, b"\x05\x00"), critical)]
    if which == "sub":
        sub = altered(sub, (root, root_key), add=add)
    else:
        root = altered(root, (root, root_key), add=add)
    assert verifies(tmp_path, root, sub, now) is (not critical)
    if critical:
        assert UNKNOWN.dotted_string in refused(sub, sub_key, [root], now)
    else:
        assert suitability.check(sub, sub_key, [root], now) == (root,)


@pytest.mark.parametrize(
    "value",
    [
        x509.CertificatePolicies(
            [x509.PolicyInformation(x509.ObjectIdentifier("2.5.29.32.0"), None)]
        ),
        x509.PolicyConstraints(require_explicit_policy=5, inhibit_policy_mapping=None),
        x509.InhibitAnyPolicy(3),
        x509.ExtendedKeyUsage([x509.ObjectIdentifier("1.3.6.1.5.5.7.3.2")]),
    ],
)
def test_critical_extensions_that_everybody_knows(
    tmp_path, sub, sub_key, root, root_key, now, value
):
    found = altered(sub, (root, root_key), add=[(value, True)])
    assert suitability.check(found, sub_key, [root], now) == (root,)
    assert verifies(tmp_path, root, found, now)


@pytest.mark.parametrize(
    ("oid", "text", "said"),
    [
        (NameOID.ORGANIZATION_NAME, "x" * 70, "O has 70 characters, at most 64 fit"),
        (NameOID.COUNTRY_NAME, "CHE", "C must have two letters"),
    ],
)
def test_a_name_that_no_ra_can_have(tmp_path, sub_key, now, oid, text, said):
    """Others read it, but nothing is issued with it here; and nothing is made."""
    common = x509.NameAttribute(NameOID.COMMON_NAME, "Long")
    name = x509.Name([x509.NameAttribute(oid, text, _validate=False), common])
    with pytest.raises(SettingsError, match=said):
        adopt(tmp_path / "ca", issue(name, sub_key, now), sub_key, [], now=now)
    assert not (tmp_path / "ca").exists()


def test_path_lengths(sub, sub_key, root_key, now, key):
    root = issue("Root", root_key, now, path_length=0)
    assert "path length of 0: 1 CAs are below" in refused(sub, sub_key, [root], now)
    root = issue("Root", root_key, now, path_length=1)
    assert suitability.check(sub, sub_key, [root], now) == (root,)
    middle_key = key("ec:p256", "middle")
    middle = issue("Middle", middle_key, now, by=(root, root_key))
    low = issue("Low", sub_key, now, by=(middle, middle_key))
    assert "path length of 1: 2 CAs" in refused(low, sub_key, [middle, root], now)


def test_chains_that_are_none(sub, sub_key, root, root_key, now, key):
    other_key = key("ec:p256", "other")
    other = issue("Other", other_key, now)
    assert "is not in the chain" in refused(sub, sub_key, [root, other], now)
    assert "has a gap" in refused(sub, sub_key, [other], now)
    middle_key = key("ec:p256", "middle")
    middle = issue("Middle", middle_key, now, by=(root, root_key))
    low = issue("Low", sub_key, now, by=(middle, middle_key))
    assert 'has a gap: nobody in it issued the certificate "CN=Low"' in refused(
        low, sub_key, [root], now
    )
    # Two CAs that certify each other.
    one = issue("One", middle_key, now, by=(issue("Two", other_key, now), other_key))
    two = issue("Two", other_key, now, by=(one, middle_key))
    low = issue("Low", sub_key, now, by=(one, middle_key))
    assert "comes back to itself" in refused(low, sub_key, [one, two], now)


def test_an_issuer_that_may_not_sign(sub, sub_key, root_key, now):
    no_ca = issue("Root", root_key, now, ca=False)
    assert "is not a CA's" in refused(sub, sub_key, [no_ca], now)
    no_sign = issue("Root", root_key, now, usages=("crl_sign",))
    assert "may not sign certificates" in refused(sub, sub_key, [no_sign], now)


def test_kinds_of_keys(key, now, root, root_key):
    for spec in ("ed25519", "rsa:1024", "ec:secp256k1"):
        private = odd_key(spec)
        certificate = issue_for(private.public_key(), root, root_key, now)
        with pytest.raises(SettingsError, match=r"bits|is not|not signed with that"):
            suitability.check_key_kind(certificate)


def odd_key(spec):
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    if spec == "ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    if spec == "rsa:1024":
        return rsa.generate_private_key(65537, 1024)
    return ec.generate_private_key(ec.SECP256K1())


def issue_for(public, root, root_key, now):
    from cryptography import x509

    return (
        x509.CertificateBuilder()
        .subject_name(name("Odd"))
        .issuer_name(root.subject)
        .public_key(public)
        .serial_number(1)
        .not_valid_before(now - DAY)
        .not_valid_after(now + DAY)
        .sign(root_key, hashes.SHA256())
    )


# --- where it comes ---


def test_a_first_ca(tmp_path, sub, sub_key, root, now, openssl):
    """An ordinary subordinate CA signs certificates and CRLs only, so it gets an RA."""
    directory = tmp_path / "ca"
    assert adopt(directory, sub, sub_key, [root], now=now) is Place.FIRST
    material = load(directory, now=now)
    assert material.ca.certificate == sub
    assert material.ra.certificate.issuer == sub.subject
    assert material.layout == "default"
    assert read_certificates(directory / paths.CHAIN) == (root,)
    assert rotate_ocsp(directory, now=now)
    assert load_responders(directory, material, now=now)
    openssl.verify(material.ra.certificate, root, sub, at=now)


def test_a_ca_that_can_be_its_own_ra(tmp_path, sub_key, root, root_key, now):
    usages = (*SIGNS, "digital_signature", "key_encipherment")
    sub = issue("Sub", sub_key, now, by=(root, root_key), usages=usages)
    adopt(tmp_path / "ca", sub, sub_key, [root], now=now)
    assert load(tmp_path / "ca", now=now).layout == "single"


@pytest.mark.parametrize("oid", [ExtensionOID.KEY_USAGE, ExtensionOID.BASIC_CONSTRAINTS])
def test_extensions_that_cannot_be_read(sub_key, now, oid):
    named, extension = name("Damaged"), x509.UnrecognizedExtension(oid, b"\5\0")
    damaged = (
        x509.CertificateBuilder(named, named, sub_key.public_key(), 1, now - DAY, now + DAY)
        .add_extension(extension, critical=False)
        .sign(sub_key, hashes.SHA256())
    )
    with pytest.raises(SettingsError, match=r'extensions of .*"CN=Damaged" cannot be read'):
        suitability.check(damaged, sub_key, [], now)


def test_a_key_for_pss_alone(tmp_path):
    """The library reads it as any other RSA key, and signs with it in a way it is not for."""
    for command in (
        "genpkey -algorithm RSA-PSS -pkeyopt rsa_keygen_bits:2048 -out k",
        "req -x509 -key k -subj /CN=PSS -out c",
    ):
        subprocess.run(["openssl", *command.split()], cwd=tmp_path, check=True, capture_output=True)
    certificate = x509.load_pem_x509_certificate((tmp_path / "c").read_bytes())
    key = load_pem_private_key((tmp_path / "k").read_bytes(), None)
    with pytest.raises(SettingsError, match="RSASSA-PSS alone"):
        suitability.check(certificate, key, [], certificate.not_valid_before_utc + DAY)


def test_one_of_ad_cs(tmp_path, sub_key, root, root_key, now):
    """With a template's name, pointers to LDAP, and digitalSignature besides."""
    sub = of_ad_cs("Issuing CA", sub_key, now, (root, root_key))
    assert adopt(tmp_path / "ca", sub, sub_key, [root], now=now) is Place.FIRST
    assert load(tmp_path / "ca", now=now).layout == "default"


def test_a_next_ca_and_the_one_in_force_goes_on(tmp_path, sub, sub_key, root, now, new_keys):
    directory = tmp_path / "ca"
    founding.create(directory, "ec", now=now)
    before = load(directory, now=now)
    assert adopt(directory, sub, sub_key, [root], now=now) is Place.NEXT
    material = load(directory, now=now)
    assert material.ca.certificate == before.ca.certificate
    assert material.next.ca.certificate == sub
    assert read_certificates(directory / paths.NEXT / paths.CHAIN) == (root,)
    rollover.activate(directory, now=now)
    material = load(directory, now=now)
    assert material.ca.certificate == sub
    assert [one.certificate for one in material.previous] == [before.ca.certificate]
    assert read_certificates(directory / paths.CHAIN) == (root,)


def test_a_second_next_ca(tmp_path, sub, sub_key, root, root_key, now, key, new_keys):
    directory = tmp_path / "ca"
    founding.create(directory, "ec", now=now)
    adopt(directory, sub, sub_key, [root], now=now)
    again = issue("Sub", sub_key, now, by=(root, root_key), days=2000)
    assert adopt(directory, again, sub_key, [root], now=now) is Place.NEXT_RENEWED
    assert load(directory, now=now).next.ca.certificate == again
    other_key = key("ec:p256", "other")
    other = issue("Other", other_key, now, by=(root, root_key))
    with pytest.raises(SettingsError, match="has a next CA already"):
        adopt(directory, other, other_key, [root], now=now)


def test_a_renewed_certificate(tmp_path, sub, sub_key, root, root_key, now):
    """For the same key and name: RA, OCSP responder and all that was issued stay good."""
    directory = tmp_path / "ca"
    adopt(directory, sub, sub_key, [root], now=now)
    rotate_ocsp(directory, now=now)
    before = load(directory, now=now)
    longer = issue("Sub", sub_key, now, by=(root, root_key), days=3000)
    assert adopt(directory, longer, sub_key, [], now=now) is Place.RENEWED
    after = load(directory, now=now)
    assert after.ca.certificate == longer
    assert after.ra.certificate == before.ra.certificate
    assert not (directory / paths.CHAIN).exists()
    assert not rotate_ocsp(directory, now=now)
    named = issue("Another", sub_key, now, by=(root, root_key))
    with pytest.raises(SettingsError, match="whose certificates name it as their issuer"):
        adopt(directory, named, sub_key, [root], now=now)
    assert load(directory, now=now).ca.certificate == longer


def test_a_name_that_has_been_used(tmp_path, sub, sub_key, root, root_key, now, key):
    """By it peers tell generations apart."""
    directory = tmp_path / "ca"
    adopt(directory, sub, sub_key, [root], now=now)
    other_key = key("ec:p256", "other")
    same = issue("sub", other_key, now, by=(root, root_key))
    with pytest.raises(SettingsError, match="is or was the name of a CA here"):
        adopt(directory, same, other_key, [root], now=now)
    assert not paths.has_next(directory)


def test_half_a_ca_is_not_overwritten(tmp_path, sub, sub_key, root, now):
    directory = tmp_path / "ca"
    directory.mkdir()
    (directory / paths.CA_KEY).write_text("somebody's only copy")
    with pytest.raises(SettingsError, match="half a CA"):
        adopt(directory, sub, sub_key, [root], now=now)
    assert (directory / paths.CA_KEY).read_text() == "somebody's only copy"


def test_a_subordinate_ca_is_never_followed_by_a_root(tmp_path, sub, sub_key, root, now):
    adopt(tmp_path / "ca", sub, sub_key, [root], now=now)
    with pytest.raises(SettingsError, match="is no root"):
        rollover.prepare(tmp_path / "ca", now=now)


def test_what_needs_an_ra(root, root_key, sub, sub_key, now):
    assert checks.needs_ra(sub)
    usages = (*SIGNS, "digital_signature", "key_encipherment")
    assert checks.needs_ra(issue("Root", root_key, now, usages=usages))  # EC decrypts nothing
    assert not checks.needs_ra(issue("Root", sub_key, now, usages=usages))


# --- its RA ---


def without_ra(directory, *names):
    """Take files of the RA away, or all of them."""
    for one in names or (paths.RA_CERTIFICATE, paths.RA_KEY):
        (directory / one).unlink()


def test_an_ra_is_made_where_it_is_missing_or_half(tmp_path, sub, sub_key, root, now, new_keys):
    directory = tmp_path / "ca"
    adopt(directory, sub, sub_key, [root], now=now)
    assert rotation.make_ra(directory, now=now) == ()
    for lost in ((), (paths.RA_CERTIFICATE,), (paths.RA_KEY,)):
        before = load(directory, now=now).ra.certificate
        without_ra(directory, *lost)
        with pytest.raises(SettingsError):
            load(directory, now=now)
        (made,) = rotation.make_ra(directory, now=now)
        after = load(directory, now=now)
        assert after.ra.certificate == made != before
        assert made.issuer == sub.subject
        assert read_certificates(directory / paths.CHAIN) == (root,)


def test_what_a_ca_without_an_ra_says(tmp_path, sub, sub_key, root, now):
    adopt(tmp_path / "ca", sub, sub_key, [root], now=now)
    without_ra(tmp_path / "ca")
    with pytest.raises(SettingsError, match="lacks digitalSignature, keyEncipherment") as caught:
        load(tmp_path / "ca", now=now)
    assert caught.value.hint == Hint.MAKE_RA


def test_an_ra_of_the_next_ca(tmp_path, sub, sub_key, root, now, new_keys):
    directory = tmp_path / "ca"
    founding.create(directory, "single", now=now)
    adopt(directory, sub, sub_key, [root], now=now)
    without_ra(directory / paths.NEXT)
    (made,) = rotation.make_ra(directory, now=now)
    material = load(directory, now=now)
    assert material.next.ra.certificate == made
    # The current one is its own RA, and stays so.
    assert material.layout == "single"


@pytest.mark.parametrize(
    ("subject", "wanted"),
    [
        (parse_subject("O=Example"), "CN=RA,O=Example"),
        ("x" * 64, f"CN={'x' * 61} RA"),
        ("\u00e4" * 32, "CN=" + 30 * "\u00e4" + " RA"),
    ],
)
def test_names_that_leave_no_room(tmp_path, root, root_key, sub_key, now, subject, wanted):
    """A CA from elsewhere is called as it is; its RA has another name than it."""
    certificate = issue(subject, sub_key, now, by=(root, root_key))
    adopt(tmp_path / "ca", certificate, sub_key, [root], now=now)
    ra = load(tmp_path / "ca", now=now).ra.certificate
    assert ra.subject.rfc4514_string() == wanted
    assert rotate_ocsp(tmp_path / "ca", now=now)


# --- requests ---


def test_a_request_waits_and_is_the_same_again(tmp_path, openssl):
    directory = tmp_path / "ca"
    made = requesting.make(directory, subject=name("Sub"), key="ec:p384")
    assert requesting.make(directory, subject=name("Sub"), key="ec:p384").pem == made.pem
    assert requesting.find(directory).key.private_numbers() == made.key.private_numbers()
    assert (directory / "request/ca-key.pem").stat().st_mode & 0o777 == 0o600
    with pytest.raises(SettingsError, match="another name waits"):
        requesting.make(directory, subject=name("Other"), key="ec:p384")
    assert requesting.drop(directory)
    assert not requesting.drop(directory)
    assert requesting.find(directory) is None


def test_what_a_request_asks_for(tmp_path):
    made = requesting.make(tmp_path / "ca", subject=name("Sub"), key="ec:p256", path_length=1)
    csr = made.csr
    assert csr.is_signature_valid
    assert csr.subject == name("Sub")
    basic = csr.extensions.get_extension_for_class(chains.x509.BasicConstraints).value
    assert (basic.ca, basic.path_length) == (True, 1)
    bits = csr.extensions.get_extension_for_class(chains.x509.KeyUsage).value
    assert bits.key_cert_sign
    assert bits.crl_sign
    with pytest.raises(UsageError, match="cannot make a key"):
        requesting.make(tmp_path / "other", subject=name("Sub"), key="dsa:1024")


# --- killed ---


def incoming(directory, certificate, private, *above):
    """Lay down what children.py takes for the CA of a directory."""
    place = directory / "incoming"
    place.mkdir(parents=True, exist_ok=True)
    pem = b"".join(one.public_bytes(Encoding.PEM) for one in (certificate, *above))
    (place / "ca.pem").write_bytes(pem)
    write_key(place / "key.pem", private)


def test_killed_while_the_first_ca_comes(tmp_path, sub, sub_key, root, now, killed):
    """There is the CA, whole, or none; asked again it is there."""
    incoming(tmp_path / "base", sub, sub_key, root)
    seen = []
    for left in killed("adopt", tmp_path / "base"):
        seen.append(paths.exists(left))
        if seen[-1]:
            assert load(left, now=now).ca.certificate == sub
        assert adopt(left, sub, sub_key, [root], now=now) in (Place.FIRST, Place.RENEWED)
        assert load(left, now=now).ca.certificate == sub
        assert read_certificates(left / paths.CHAIN) == (root,)
        assert not (left / founding.STAGE).exists()
    assert seen == sorted(seen)


def test_killed_while_the_next_ca_comes(tmp_path, sub, sub_key, root, now, killed, new_keys):
    base = tmp_path / "base"
    founding.create(base, "ec", now=now)
    before = load(base, now=now).ca.certificate
    incoming(base, sub, sub_key, root)
    seen = []
    for left in killed("adopt", base):
        material = load(left, now=now)
        assert material.ca.certificate == before
        seen.append(material.next is not None)
        assert adopt(left, sub, sub_key, [root], now=now) in (Place.NEXT, Place.NEXT_RENEWED)
        assert load(left, now=now).next.ca.certificate == sub
        assert read_certificates(left / paths.NEXT / paths.CHAIN) == (root,)
    assert seen == sorted(seen)
    assert len(set(seen)) == 2


def test_killed_while_a_certificate_is_renewed(tmp_path, sub, sub_key, root, root_key, now, killed):
    base = tmp_path / "base"
    adopt(base, sub, sub_key, [root], now=now)
    longer = issue("Sub", sub_key, now, by=(root, root_key), days=3000)
    incoming(base, longer, sub_key)
    seen = []
    for left in killed("adopt", base):
        current = load(left, now=now).ca.certificate
        assert current in (sub, longer)
        seen.append(current == longer)
        # The chain belongs to the certificate that is in force.
        has_chain = (paths.in_force(left) / paths.CHAIN).exists()
        assert has_chain == (current == sub)
        assert adopt(left, longer, sub_key, [], now=now) is Place.RENEWED
        assert load(left, now=now).ca.certificate == longer
    assert seen == sorted(seen)
    assert len(set(seen)) == 2


def test_killed_while_a_request_is_made_and_dropped(tmp_path, killed):
    """A key and its PKCS#10, or neither."""
    for left in killed("request"):
        waiting = requesting.find(left)
        again = requesting.make(left, subject=founding.ca_name("Requested CA"), key="ec:p256")
        assert waiting is None or waiting.pem == again.pem
        assert again.key.public_key() == again.csr.public_key()
    base = tmp_path / "base"
    made = requesting.make(base, subject=founding.ca_name("Requested CA"), key="ec:p256")
    for left in killed("drop-request", base):
        waiting = requesting.find(left)
        assert waiting is None or waiting.pem == made.pem
        assert requesting.drop(left) == (waiting is not None)
        assert not paths.has_request(left)


def requested(directory, root, root_key, now):
    """Make a request, and lay down its answer for children.py; return that."""
    made = requesting.make(directory, subject=name("Requested"), key="ec:p256")
    certificate = issue("Requested", made.key, now, by=(root, root_key), path_length=0)
    incoming(directory, certificate, made.key, root)
    return certificate


def is_whole(directory, certificate, root, now):
    """Say whether a CA is in force with all that belongs to it, and nothing waits any more."""
    material = load(directory, now=now)
    assert material.ca.certificate == certificate
    assert material.next is None
    assert read_certificates(directory / paths.CHAIN) == (root,)
    assert material.ra.certificate.issuer == certificate.subject
    assert not rotate_ocsp(directory, now=now)
    return not paths.has_request(directory)


def test_killed_while_the_first_ca_is_installed(tmp_path, root, root_key, now, killed):
    """Asked again it is done: the CA, its RA and its key for OCSP; the request is gone."""
    base = tmp_path / "base"
    certificate = requested(base, root, root_key, now)
    for left in killed("install", base):
        # Nothing, or a CA that loads.
        assert not paths.exists(left) or load(left, now=now).ca.certificate == certificate
        children.install(left)
        assert is_whole(left, certificate, root, now)


def test_killed_while_a_ca_makes_room(tmp_path, root, root_key, now, killed, new_keys):
    """Between the steps the new one is the next already; asked again it is the CA."""
    base = tmp_path / "base"
    founding.create(base, "ec", now=now)
    before = load(base, now=now).ca.certificate
    certificate = requested(base, root, root_key, now)
    seen = []
    for left in killed("install", base):
        material = load(left, now=now)
        current, coming = material.ca.certificate, material.next and material.next.ca.certificate
        assert (current, coming) in ((before, None), (before, certificate), (certificate, None))
        seen.append((current == certificate, coming is not None))
        children.install(left)
        assert is_whole(left, certificate, root, now)
        assert [one.certificate for one in load(left, now=now).previous] == [before]
    assert {(False, False), (False, True), (True, False)} == set(seen)


def test_killed_before_it_is_put_into_force_at_once(tmp_path, root, root_key, now, new_keys):
    """`--now` again does what the first one did not come to."""
    base = tmp_path / "base"
    founding.create(base, "ec", now=now)
    certificate = requested(base, root, root_key, now)
    children.adopt(base)
    assert load(base, now=now).next.ca.certificate == certificate
    children.install(base, at_once=True)
    assert is_whole(base, certificate, root, now)


def test_killed_while_an_ra_is_made(tmp_path, sub, sub_key, root, now, killed):
    """The CA lacks its RA, or has it; asked again it has it."""
    base = tmp_path / "base"
    adopt(base, sub, sub_key, [root], now=now)
    without_ra(base)
    seen = []
    for left in killed("make-ra", base):
        place = paths.in_force(left)
        assert (place / paths.RA_KEY).exists() == (place / paths.RA_CERTIFICATE).exists()
        seen.append(paths.has_ra(place))
        rotation.make_ra(left, now=now)
        assert load(left, now=now).ra.certificate.issuer == sub.subject
    assert seen == sorted(seen)
    assert len(set(seen)) == 2


def constrained(*permitted):
    constraints = x509.NameConstraints(permitted_subtrees=permitted, excluded_subtrees=None)
    return [constraints]


def test_constraints_that_leave_no_name_to_the_ra(tmp_path, sub_key, root, root_key, now):
    """The server would have no RA and no OCSP responder that anybody verifies."""
    only = x509.DirectoryName(name("sub"))
    sub = issue("sub", sub_key, now, by=(root, root_key), extensions=constrained(only))
    with pytest.raises(SettingsError, match='"CN=sub RA", which the server needs'):
        adopt(tmp_path / "ca", sub, sub_key, [root], now=now)
    assert not paths.exists(tmp_path / "ca")


def test_a_ca_outside_the_constraints_above_it(sub_key, root_key, now):
    only = x509.DirectoryName(name("other"))
    root = issue("root", root_key, now, extensions=constrained(only))
    sub = issue("sub", sub_key, now, by=(root, root_key))
    said = refused(sub, sub_key, [root], now)
    assert '"CN=sub" may not be below the certificate "CN=root"' in said


def test_what_a_ca_with_a_chain_above_issues(tmp_path, sub, sub_key, root_key, now):
    """The chain that comes with it counts when its files are read: here the root ends sooner."""
    root = issue("root", root_key, now, days=100)
    sub = issue("sub", sub_key, now, by=(root, root_key))
    adopt(tmp_path / "ca", sub, sub_key, [root], now=now)
    loaded = load(tmp_path / "ca", now=now)
    assert loaded.ca.limits.not_after == root.not_valid_after_utc < sub.not_valid_after_utc
    assert loaded.ra.certificate.not_valid_after_utc == root.not_valid_after_utc
