"""The scep.toml that the first start writes: every setting with what it does."""

from __future__ import annotations

import json
from typing import Any

TEMPLATE = """\
# The settings of this SCEP server. Every value may also come from the environment
# (SCEP_PORT=8081, SCEP_ENDPOINT__DEFAULT__LEGACY='["sha1"]') or from an option of scep serve;
# an option wins over the environment, the environment over this file. An option counts for that
# start only. They are read when the server starts. What is commented out is the default.

host = {host}
port = {port}
workers = {workers}

# The URL that devices reach this server at. Set it before the first device: without it, and without
# pki_url, issued certificates name no CRL and no OCSP responder.
{public_url}
# Where /crl, /ca and /ocsp are reached: issued certificates say so to whoever checks them. Plain
# http, as RFC 5280 asks for. It is public_url without /scep unless given.
# pki_url = "http://pki.example.com"

# Prometheus metrics are at /metrics of the address above; name another to keep them apart, and to
# have there what /healthz does not tell everybody: why the server is degraded or failing.
# metrics = "127.0.0.1:9108"

# "json" for machines, "text" for people, "auto" for text on a terminal and JSON elsewhere.
log = "auto"

# Seconds to wait for what another program has locked in the database; then devices get HTTP 503 and
# come back.
# database_seconds = 5

# Days that answered requests, expired challenges and expired certificates are kept; a certificate
# stays as long as it can be renewed, too, and a spent challenge as long as its certificate.
# retention_days = 90
# Hours that a CRL is good; it is signed anew when a quarter is left, and after a revocation.
# crl_hours = 24
# Minutes that an OCSP response is good, and may be kept by proxies and by whoever asked.
# ocsp_minutes = 60
# Days before its end that an RA certificate is replaced by a new one with a new key.
# ra_rotation_days = 30
# Minutes between two looks at what expired, has to be renewed or can be deleted.
# sweep_minutes = 10

# Connections at once, in all and of one address (of IPv6: one /64), and requests that wait on one.
# max_connections = 4096
# max_connections_per_address = 256
# max_pipelined = 16
# Seconds in which a request has to arrive, and a response, or 64 KiB of it, to be taken.
# request_seconds = 30
# response_seconds = 30
# Proxies whose X-Forwarded-For is believed: addresses and networks.
# proxies = ["127.0.0.1", "::1"]

# Devices reach this endpoint at /scep; [endpoint.vpn] would be reached at /scep/vpn.
[endpoint.default]
# Algorithms below AES and SHA-2, for devices that can do no better: "sha1", "des3", and, outside
# the RFC, "des" and "md5"; "draft-oids": names in the form of old drafts. Every use is logged.
legacy = []
validity_days = 365

# The CA that issues: "default", or another name for a CA of its own in the directory ca-NAME, made
# at the next start with this key layout: "default", "ec" or "single".
# ca = "default"
# layout = "default"

# Shapes GetCACert and the replies for one client family: "apple", "windows", "intune",
# "cisco-ios", "cisco-vpn", "juniper", "strongswan". What is set below still wins.
# preset = "none"

# "manual": every first enrolment waits for scep admin approve or reject, at most so many days;
# renewals do not wait.
# approval = "auto"
# pending_days = 7
# How many may wait at once: of one address (of IPv6, one /64), and of all. More are told to come
# back later.
# pending_per_address = 100
# pending_requests = 10000

# "one-time": scep admin challenge new makes them. "static": the first line of challenge_file
# (mode 0600), the same for all devices; scep admin challenge secret makes it, and the server warns
# of one that looks shorter than 80 random bits (words are not recognised). "none": needs
# approval = "manual".
# challenge = "one-time"
# challenge_file = "challenge.txt"
# Wrong static challenges of one address in a minute; after that it gets HTTP 429 for a while, with
# the right one too.
# wrong_challenges_per_minute = 30

# A current certificate entitles to the next one: so many days before its end (0: at any time),
# and so many after it; for other names only if you say so. No fewer before than devices begin with:
# scep renew does so 30 days before, or with the last third of a shorter life.
# renewal = true
# renewal_window_days = 0
# renewal_grace_days = 0
# renewal_new_names = false
# PEM files of other CAs whose certificates may be exchanged for one of this CA.
# renewal_anchors = []

# GetCert: "off", "own" (certificates of the requester's own names or key) or "all"; and GetCRL.
# get_cert = "own"
# get_crl = true
# retrievals_per_minute = 60

# Rounds of key derivation that anybody may ask this server for, by a request that is encrypted with
# a password or by the MAC of a CMP request. scep enroll asks for 10000, OpenSSL's cmp for 500.
# pbkdf2_rounds = 10000

# CMP at /cmp/default: whoever holds a certificate's key may have it revoked (scep revoke,
# openssl cmp -cmd rr); or whoever holds that of another valid one of the same subject, too.
# cmp = true
# cmp_revoke_by_subject = false

# Refuse requests whose signingTime is more minutes off; 0: do not look.
# signing_time_minutes = 0
# Let a request be signed by another key than it is for; see the reference before.
# separate_keys = false
# Keep the challengePassword of each request, encrypted: who knows it can revoke the certificate
# without its key, by CMP (openssl cmp -secret). Not for a static challenge.
# revocation_passphrase = false
# Encrypt replies to EC keys by ECDH where the request has no challenge.
# key_agreement = false

# GetCACert: "auto", "ca", "chain", "ra+ca" or "ra+chain"; and whether the root above an
# intermediate CA is in it.
# ca_certificates = "auto"
# include_root = true
# Send the CA's certificates along with the issued one.
# reply_chain = false

# What is certified: RSA from and to so many bits, other keys, usages, purposes, kinds of names.
# With "upn" whoever holds a challenge that is bound to no names may ask for anybody's.
# rsa_bits = [2048, 8192]
# curves = ["p256", "p384", "p521", "ed25519"]
# key_usages = ["digital_signature", "key_encipherment", "key_agreement"]
# default_eku = ["client_auth"]
# allowed_eku = ["client_auth", "server_auth", "email_protection", "ipsec_ike", \
"ike_intermediate", "smartcard_logon"]
# san_types = ["dns", "ip", "email", "uri", "upn"]
"""

_NO_PUBLIC_URL = '# public_url = "http://scep.example.com/scep"'


def filled(*, host: str, port: int, workers: int, public_url: str) -> str:
    """Return the file of a new server.

    Args:
        host: the address to listen on.
        port: the port to listen on.
        workers: the number of processes.
        public_url: the URL for devices; empty for none.
    """
    return TEMPLATE.format(
        host=toml_value(host),
        port=port,
        workers=workers,
        public_url=f"public_url = {toml_value(public_url)}" if public_url else _NO_PUBLIC_URL,
    )


def toml_value(value: Any) -> str:
    """Return a value as it is written in TOML: text, a number, true or false, or a list of them."""
    # JSON has the same escapes, but leaves DEL as it is.
    return json.dumps(value, ensure_ascii=False, default=str).replace("\x7f", "\\u007f")
