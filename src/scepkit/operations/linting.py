"""The word of pkilint on a certificate, where it is installed."""

from __future__ import annotations

import importlib.util


def findings(der: bytes) -> tuple[str, ...] | None:
    """Return what pkilint finds wrong with a certificate: notices and worse.

    Args:
        der: the certificate.

    Returns:
        A line for each finding; None where pkilint is not installed.
    """
    if importlib.util.find_spec("pkilint") is None:
        return None
    from pkilint import loader, validation
    from pkilint.pkix import certificate, extension, name

    rules = certificate.create_pkix_certificate_validator_container(
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
    results = rules.validate(loader.load_certificate(der, "issued").root)
    return tuple(
        f"{one.finding.severity.name}: {one.finding.code}"
        for result in results
        for one in result.finding_descriptions
        if one.finding.severity < validation.ValidationFindingSeverity.INFO
    )
