"""pkilint as the judge: its rules for certificates of RFC 5280."""

from __future__ import annotations

from functools import cache

from pkilint import loader, validation
from pkilint.pkix import certificate, extension, name


@cache
def linter():
    """Return pkilint's rules for certificates of RFC 5280."""
    return certificate.create_pkix_certificate_validator_container(
        certificate.create_decoding_validators(
            name.ATTRIBUTE_TYPE_MAPPINGS, extension.EXTENSION_MAPPINGS
        ),
        [
            certificate.create_issuer_validator_container([]),
            certificate.create_validity_validator_container(),
            certificate.create_subject_validator_container([]),
            certificate.create_extensions_validator_container([]),
            certificate.create_spki_validator_container([]),
        ],
    )


def findings(der_):
    """Return what pkilint finds wrong: notices and worse."""
    read = loader.load_certificate(der_, "issued")
    results = linter().validate(read.root)
    return [
        (one.finding.severity.name, one.finding.code, one.message)
        for result in results
        for one in result.finding_descriptions
        if one.finding.severity < validation.ValidationFindingSeverity.INFO
    ]
