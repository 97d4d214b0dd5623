"""Get a certificate and renew it: python enrol.py URL FINGERPRINT CHALLENGE."""

import sys

from scepkit import Client, generate_key

url, fingerprint, challenge = sys.argv[1:]
with Client(url) as client:
    ca = client.get_ca(fingerprint)
    key = generate_key("rsa:2048")
    issued = client.enrol(ca, key, "CN=device1", names=["dns:device1.example"], challenge=challenge)
    print(issued.certificate.subject_name, issued.certificate.not_after)
    if ca.offers_renewal_info:
        print("best renewed at", client.get_renewal_info(issued.certificate).at)
    again = client.renew(ca, key, issued.certificate, generate_key("rsa:2048"), challenge=challenge)
    print(again.certificate.subject_name, again.certificate.not_after)
