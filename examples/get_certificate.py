"""Get a certificate: python get_certificate.py URL FINGERPRINT CHALLENGE."""

import sys
from pathlib import Path

from scepkit import Client, Folder, ScepError, generate_key

url, fingerprint, challenge = sys.argv[1:]
client = Client(url)
folder = Folder(Path("device1"))
try:
    ca = client.get_ca(fingerprint)
    # A run that was interrupted left its key: with it the CA knows the request again.
    key = folder.unfinished_key() or generate_key("rsa:2048")
    folder.begin(key)
    issued = client.enrol(ca, key, "CN=device1", names=["device1.example"], challenge=challenge)
    folder.install(issued)
except ScepError as error:
    sys.exit(f"{error} {error.hint}")
print(issued.certificate.subject_name, issued.certificate.not_after)
