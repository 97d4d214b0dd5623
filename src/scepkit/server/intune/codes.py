"""The codes that Intune answers with: what each means, and its number in a failure notification.

The list is that of Microsoft's clients, and complete. A code that is not in it means a refusal, as
it does to them.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

SUCCESS = "Success"

_SEVERITY, _CUSTOMER = 1 << 31, 1 << 29  # of an HRESULT (MS-ERREF section 2.1)
_FACILITY_ITF = 4 << 16

_OTHER_CA = "the device has the profile of another CA's SCEP server, or an old one"

MEANINGS: Mapping[str, str] = MappingProxyType(
    {
        "Unknown": "Intune does not say why",
        SUCCESS: "",
        "CertificateRequestDecodingFailed": "Intune cannot read the PKCS#10",
        "ChallengePasswordMissing": "the request has no challengePassword",
        "ChallengeDeserializationError": f"the challenge is none of Intune's: {_OTHER_CA}",
        "ChallengeDecryptionError": "the challenge is of another tenant, or altered",
        "ChallengeDecodingError": f"the challenge is none of Intune's: {_OTHER_CA}",
        "ChallengeInvalidTimestamp": "the time in the challenge is not one that can be",
        "ChallengeExpired": "the challenge has expired; the device gets a new one when it next "
        "checks in",
        "SubjectNameMissing": "the request has no subject, and the profile in Intune has one",
        "SubjectNameMismatch": "the subject is not that of the profile in Intune",
        "SubjectAltNameMissing": "the request lacks a subject alternative name of the profile",
        "SubjectAltNameMismatch": "the subject alternative names are not those of the profile",
        "KeyUsageMismatch": "the keyUsage is not that of the profile in Intune",
        "KeyLengthMismatch": "the key has another length than the profile in Intune says",
        "EnhancedKeyUsageMissing": "the request lacks a purpose of the profile in Intune",
        "EnhancedKeyUsageMismatch": "the purposes are not those of the profile in Intune",
        "AadKeyIdentifierListMissing": "the device has sent no list of its keys in Entra",
        "RegisteredKeyMismatch": "the request's key is not one that the device has registered",
        "SigningCertThumbprintMismatch": "the certificate that signed is not the one expected",
        "ScepProfileNoLongerTargetedToTheClient": "the profile is not assigned to the device or "
        "its user any more",
        "SignatureValidationFailed": "Intune cannot verify a signature",
        "BadCertificateRequestIdInChallenge": "the challenge is for another request",
        "BadDeviceIdInChallenge": "the challenge is for another device",
        "BadUserIdInChallenge": "the challenge is for another user",
    }
)
"""The meaning of each code, for whoever reads the log."""

_NUMBERS: Mapping[str, int] = MappingProxyType({code: n for n, code in enumerate(MEANINGS)})

ISSUING_FAILED = "IssuingFailed"
"""Our own code: Intune agreed, and the certificate was not issued all the same."""
UNANSWERED = "SuccessNotificationUnanswered"
"""Our own code: the success notification has had no answer for too long."""

_OWN: Mapping[str, int] = MappingProxyType({ISSUING_FAILED: 0x100, UNANSWERED: 0x101})


def meaning(code: str) -> str:
    """Return a code with its meaning, for the log."""
    return f"{code} ({MEANINGS.get(code) or 'a code that is not known here'})"


def h_result(code: str) -> int:
    """Return the HRESULT of a failure notification, as a signed number of 32 bits.

    It is one of ours (the customer bit is set), whose last 16 bits are the place of the code in
    Microsoft's list, or 0x100 and more for what is ours alone; `Unknown` for other codes.

    Args:
        code: one of Intune's, or of this module's.
    """
    number = _OWN.get(code, _NUMBERS.get(code, 0))
    return (_SEVERITY | _CUSTOMER | _FACILITY_ITF | number) - (1 << 32)
