"""Send a PKCS#10 that another program has written: python own_csr.py URL FINGERPRINT CSR KEY."""

import sys
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from scepkit import Client, RequestRefused, prepared_request

url, fingerprint, csr, key_file = sys.argv[1:]
key = load_pem_private_key(Path(key_file).read_bytes(), None)
if not isinstance(key, RSAPrivateKey):
    sys.exit("this example is for RSA keys")
prepared = prepared_request.of_csr(key, Path(csr).read_bytes())
with Client(url) as client:
    try:
        issued = client.submit(client.get_ca(fingerprint), prepared)
    except RequestRefused as error:
        sys.exit(f"{error} (transaction {error.transaction_id}); {error.hint}")
print(issued.certificate.pem(), end="")
