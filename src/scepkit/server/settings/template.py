"""The scep.toml that the first start writes: every setting with its explanation."""

from __future__ import annotations

import json
from typing import Any

TEMPLATE = """\
# The settings of this SCEP server. Every value may also come from the environment
# (SCEP_PORT=8081, SCEP_ENDPOINT__DEFAULT__LEGACY='["sha1"]') or from an option of scep serve;
# an option wins over the environment, the environment over this file. An option counts for that
# start only. The server reads this file when it starts, and again on scep admin reload. Values that
# are commented out are the defaults.

host = {host}
port = {port}
workers = {workers}

# The URL at which devices reach this server. Set it before the first device: without it and without
# pki_url, issued certificates name no CRL and no OCSP responder.
{public_url}
# The URL in issued certificates under which /crl, /ca and /ocsp are reached. Plain http, as RFC
# 5280 asks for. Unset, it is public_url without /scep.
# pki_url = "http://pki.example.com"

# An address of its own for Prometheus metrics at /metrics, and for /healthz with the reasons why
# the server is degraded or failing. Unset, the metrics are at the address above, without the
# reasons.
# metrics = "127.0.0.1:9108"

# The address of the API, for programs with a token (scep admin token create); unset, there is none.
# It speaks TLS, with the certificate and key in these PEM files, or with one that the server makes
# and whose fingerprint it prints; api_tls = false only on a loopback address, or behind a proxy
# that is listed in proxies.
# api = "127.0.0.1:8443"
# api_tls = true
# api_certificate = "/etc/scep/api.pem"
# api_key = "/etc/scep/api-key.pem"
# Requests of one token, and wrong tokens of one address, in a minute; more get HTTP 429.
# api_requests_per_minute = 1200
# api_wrong_tokens_per_minute = 30

# The file whose first line is the passphrase of the server's keys (scep admin ca protect); nobody
# else may read it.
# key_passphrase_file = "/etc/scep/passphrase"

# "json" for machines, "text" for people, "auto" for text on a terminal and JSON elsewhere.
log = "auto"

# Seconds to wait for a database lock of another program; after that devices get HTTP 503 and come
# back.
# database_seconds = 5

# Days that answered requests, expired challenges and expired certificates are kept; a certificate
# stays at least as long as it can be renewed, and a spent challenge as long as its certificate or
# a renewal of that.
# retention_days = 90
# Write what is issued, revoked and decided, and what operators do, into the audit record (scep
# admin audit). It is never deleted.
# audit = true
# Hours that a CRL is valid; a new one is signed when a quarter is left, and after a revocation.
# crl_hours = 24
# Minutes that an OCSP response is valid and may be cached.
# ocsp_minutes = 60
# Days before its end when an RA certificate is replaced by a new one with a new key.
# ra_rotation_days = 30
# Minutes between two runs of the background task, which deletes old records and replaces RA and
# OCSP certificates.
# sweep_minutes = 10

# Simultaneous connections, in all and of one address (IPv6: one /64), and waiting requests on one.
# max_connections = 4096
# max_connections_per_address = 256
# max_pipelined = 16
# Seconds for a request to arrive, and for a response, or 64 KiB of it, to be read by the peer.
# request_seconds = 30
# response_seconds = 30
# Requests of one worker process that wait for other services at once, and the seconds to wait.
# max_waiting = 1000
# waiting_seconds = 30
# Refused requests that are kept of an endpoint's strangers, and as many of its devices.
# kept_refusals = 1000
# Proxies whose X-Forwarded-For is believed: addresses and networks.
# proxies = ["127.0.0.1", "::1"]

# Who is told by webhook of what happens: a section [notification.NAME] with url and secret_file;
# see docs/reference/notifications.md.

# Devices reach this endpoint at /scep; [endpoint.vpn] would be reached at /scep/vpn.
[endpoint.default]
# Algorithms below AES and SHA-2, for devices that support nothing better: "sha1", "des3", and,
# outside the RFC, "des" and "md5"; "draft-oids": names in the form of old drafts. Every use is
# logged.
legacy = []

# Which certificates are issued: "device", another ready profile, or one of your own, [profile.NAME]
# or profiles/NAME.toml; see docs/reference/profiles.md. What is set below wins over the profile.
profile = "device"
# validity_days = 365

# The issuing CA: "default", or the name of another CA. Its directory is ca-NAME, and the next start
# makes it with this key layout: "default", "ec" or "single".
# ca = "default"
# layout = "default"

# Shapes GetCACert and the replies for one client family: "apple", "windows", "intune",
# "cisco-ios", "cisco-vpn", "juniper", "strongswan". Keys that are set below still win.
# preset = "none"

# "manual": every first enrolment waits for scep admin approve or reject, at most pending_days;
# renewals do not wait.
# approval = "auto"
# pending_days = 7
# How many requests may wait at once: of one address (IPv6: one /64), and of all. Further devices
# are told to come back later.
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

# Ways for an MDM to ask for one-time challenges, by TLS only: the page of NDES, at
# /scep/default/mscep_admin/ (with ndes below /certsrv as well), for the accounts of scep admin
# ndes-account; its encoding, "utf-16" or "utf-8", the hex digits of a challenge, 16 or 32, its
# lifetime, and how many an account gets in a minute. [endpoint.default.jamf] is the webhook of Jamf
# Pro and Fleet; see docs/how-to/jamf-pro.md.
# mscep_admin = false
# ndes = false
# ndes_page_encoding = "utf-16"
# ndes_length = 16
# ndes_minutes = 60
# ndes_per_minute = 600

# In place of renewal, challenge, challenge_file and approval: who may have a certificate, rule by
# rule, [[endpoint.default.authorization]]; see docs/how-to/who-may-have-a-certificate.md.
# authorization = []

# A current certificate entitles to its renewal: from renewal_window_days before its end (0: at any
# time) until renewal_grace_days after it; for other names only with renewal_new_names. The window
# must not open later than devices begin: scep renew begins 30 days before the end, or with the last
# third of a shorter validity.
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

# The most rounds of key derivation that a request may ask for, in a request that is encrypted
# with a password or in the MAC of a CMP request. scep enroll asks for 10000, OpenSSL's cmp for
# 500.
# pbkdf2_rounds = 10000

# CMP at /cmp/default: the holder of a certificate's key may have the certificate revoked (scep
# revoke, openssl cmp -cmd rr); with cmp_revoke_by_subject the holder of another valid certificate
# with the same subject may, too.
# cmp = true
# cmp_revoke_by_subject = false

# Refuse requests whose signingTime differs by more minutes; 0: no check.
# signing_time_minutes = 0
# Allow the signer's key to differ from the key to be certified; read the reference before.
# separate_keys = false
# Keep the challengePassword of each request, encrypted: it can later revoke the certificate without
# its key, by CMP (openssl cmp -secret). Not for a static challenge.
# revocation_passphrase = false
# Encrypt replies to EC keys by ECDH where the request has no challenge.
# key_agreement = false

# GetCACert: "auto", "ca", "chain", "ra+ca" or "ra+chain"; and whether the root above an
# intermediate CA is in it.
# ca_certificates = "auto"
# include_root = true
# Send the CA's certificates along with the issued one.
# reply_chain = false

# In place of what the profile says: smallest and largest RSA key, other kinds of keys, usages,
# purposes, kinds of names. What somebody logs in by to a Windows domain ("upn", "smartcard_logon")
# is left out all the same.
# rsa_bits = [2048, 8192]
# curves = ["p256", "p384", "p521", "ed25519"]
# key_usages = ["digital_signature", "key_encipherment", "key_agreement"]
# A request that names no purposes gets default_eku; scep enroll --eku names them.
# default_eku = ["client_auth"]
# allowed_eku = ["client_auth", "server_auth", "email_protection", "ipsec_ike", "ike_intermediate"]
# san_types = ["dns", "ip", "email", "uri", "upn"]

# An app registration of Entra, by which endpoints ask Microsoft Intune (docs/how-to/intune.md).
# [intune.corp]
# tenant = "contoso.com"
# client_id = "11111111-2222-3333-4444-555555555555"
# secret_file = "intune.secret"
# secret_expires = 2027-11-28
# revocation_minutes = 15

# The CA "default", where the server makes it itself, and what scep admin ca request asks for unless
# told otherwise: its name; its key, "rsa:2048", "rsa:3072", "rsa:4096", "ec:p256" or "ec:p384"; the
# years that its own certificate is valid; and how many CAs may be below one another under it. A CA
# that is there stays as it is. [ca.NAME] is for another one.
{ca}
# key = "rsa:3072"
# years = 10
# path_length = 0
"""

_NO_CA_SUBJECT = '# [ca.default]\n# subject = "CN=Example Device CA,O=Example,C=CH"'
_NO_PUBLIC_URL = '# public_url = "http://scep.example.com/scep"'


def filled(
    *, host: str, port: int, workers: int, public_url: str, ca_subject: str | None = None
) -> str:
    """Return the file of a new server.

    Args:
        host: the address to listen on.
        port: the port to listen on.
        workers: the number of processes.
        public_url: the URL for devices; empty for none.
        ca_subject: the name of the CA `default`, where it has been chosen.
    """
    return TEMPLATE.format(
        host=toml_value(host),
        port=port,
        workers=workers,
        ca=f"[ca.default]\nsubject = {toml_value(ca_subject)}" if ca_subject else _NO_CA_SUBJECT,
        public_url=f"public_url = {toml_value(public_url)}" if public_url else _NO_PUBLIC_URL,
    )


def toml_value(value: Any) -> str:
    """Return a value as it is written in TOML: text, a number, true or false, or a list of them."""
    # JSON has the same escapes, but leaves DEL as it is.
    return json.dumps(value, ensure_ascii=False, default=str).replace("\x7f", "\\u007f")
