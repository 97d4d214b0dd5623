"""Microsoft's extensions by which a request names a certificate template of the CA.

A name goes into szOID_ENROLL_CERTTYPE, which NDES and AD CS read of templates of the first version;
an OID goes into szOID_CERTIFICATE_TEMPLATE, with which all later ones are told ([MS-WCCE] sections
2.2.2.7.7.1 and 2.2.2.7.7.2).

EnrollmentNameValuePair's name ::= BMPString
CertificateTemplateOID ::= SEQUENCE {
    templateID            OBJECT IDENTIFIER,
    templateMajorVersion  INTEGER (0..4294967295) OPTIONAL,
    templateMinorVersion  INTEGER (0..4294967295) OPTIONAL }
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from contextlib import suppress

from cryptography import x509
from cryptography.x509 import ObjectIdentifier

from scepkit.errors import Malformed, UsageError
from scepkit.protocol.asn1 import ber, der, strings
from scepkit.protocol.extensions import Extension

TEMPLATE_NAME = ObjectIdentifier("1.3.6.1.4.1.311.20.2")
TEMPLATE = ObjectIdentifier("1.3.6.1.4.1.311.21.7")

_LONGEST = 64  # as of the common name of a template in the directory
_LAST_VERSION = 2**32 - 1
_DIGITS = len(str(_LAST_VERSION))
_OID = re.compile(r"([0-9]+(?:\.[0-9]+)+)(?::([0-9]+)(?:\.([0-9]+))?)?")
_NAME_OR_OID = (
    "write its name, such as Machine, or its OID and version, such as 1.3.6.1.4.1.311.1:100.4"
)


def certificate_template(text: str) -> x509.Extension[x509.ExtensionType]:
    """Return the extension that names a template of the CA.

    Args:
        text: the template's name (not its display name); or its OID, with `:major` or
            `:major.minor` of its version where the CA wants that.

    Raises:
        UsageError: it is neither.
    """
    oid = _OID.fullmatch(text)
    if oid is None:
        return x509.Extension(TEMPLATE_NAME, critical=False, value=_name(text))
    given = [part for part in oid.groups()[1:] if part is not None]
    if any(len(part) > _DIGITS or int(part) > _LAST_VERSION for part in given):
        raise UsageError(
            f"{text!r} is not a template: a version is at most {_LAST_VERSION}", hint=_NAME_OR_OID
        )
    try:
        major, minor = [*map(int, given), None, None][:2]
        value = x509.MSCertificateTemplate(ObjectIdentifier(oid[1]), major, minor)
    except ValueError as error:
        raise UsageError(
            f"{text!r} is not a template: there is no such OID", hint=_NAME_OR_OID
        ) from error
    return x509.Extension(TEMPLATE, critical=False, value=value)


def named_template(extensions: Iterable[Extension]) -> str:
    """Return the template that a request names, as `certificate_template` reads it; "" for none."""
    for one in extensions:
        with suppress(Malformed, strings.Undecodable):
            if one.value and one.oid == TEMPLATE_NAME:
                return strings.decode(*ber.tag_and_content(one.value))
            if one.value and one.oid == TEMPLATE:
                return _shown(ber.parts(one.value, der.SEQUENCE, "certificate template"))
    return ""


def _shown(parts: Sequence[bytes]) -> str:
    oid = ber.oid(parts[0]).dotted_string if parts else ""
    numbers = [
        str(ber.integer(ber.content(part, der.INTEGER, "version"), "version"))
        for part in parts[1:3]
    ]
    return ":".join(filter(None, (oid, ".".join(numbers))))


def _name(text: str) -> x509.UnrecognizedExtension:
    if not text or not text.isprintable() or len(text) > _LONGEST or max(text) > "\uffff":
        raise UsageError(
            f"{text!r} is not the name of a template: it has 1 to {_LONGEST} characters of the "
            "Basic Multilingual Plane",
            hint=_NAME_OR_OID,
        )
    value = der.element(strings.BMP_STRING, text.encode("utf-16-be"))
    return x509.UnrecognizedExtension(TEMPLATE_NAME, value)
