"""Get a certificate into a directory: python get_certificate.py URL FINGERPRINT CHALLENGE.

Run it again after an interruption, or to ask again while the request waits for approval.
"""

import sys
from pathlib import Path

from scepkit import Client, Enroller, Folder, ScepError, by_fingerprint

url, fingerprint, challenge = sys.argv[1:]
try:
    trust = by_fingerprint(fingerprint)
    enroller = Enroller(Client(url), Folder(Path("device1")), trust, tell=print)
    issued = enroller.enrol("CN=device1", names=["device1.example"], challenge=challenge)
except ScepError as error:
    sys.exit(f"{error} {error.hint}")
print(issued.certificate.subject_name, issued.certificate.not_after)
