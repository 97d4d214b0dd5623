"""`same_subject` of a profile: what starts, what devices read, and what the background does."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

import keys
from enrolment import devices
from scepkit.errors import SettingsError
from scepkit.protocol.scep.messages import PKCSReq
from scepkit.server.background.housekeeping import Sweep
from scepkit.server.directory import data_directory
from scepkit.store import Store
from server.test_app import post, recipient, run

REPLACE = {"profile": {"one": {"same_subject": "replace", "replace_after": "7d"}}}
REFUSE = {"profile": {"one": {"same_subject": "refuse"}}}


@pytest.mark.parametrize(
    "how",
    [
        {"challenge": "none", "approval": "manual"},
        {"challenge": "static", "challenge_file": "secret"},
    ],
)
def test_nothing_is_replaced_where_no_challenge_is_bound(app, tmp_path, how):
    if "challenge_file" in how:
        secret = tmp_path / "secret"
        secret.write_text("a long shared secret\n", "utf-8")
        secret.chmod(0o600)
        how = how | {"challenge_file": str(secret)}
    with pytest.raises(SettingsError, match=r'same_subject = "replace".* is bound to no subject'):
        app(endpoint={"default": {"profile": "one", **how}}, **REPLACE)


def enrol(path, secret, name):
    request = PKCSReq(devices.request(secret, key=keys.device(name).key))
    return post(
        devices.seal(request, to=recipient(path), signer=keys.device(name), transaction_id=name)
    )


@pytest.mark.parametrize(("profile", "waits"), [(REPLACE, True), (REFUSE, False)])
def test_requests_that_may_write_are_not_decided_on_the_loop(app, profile, waits):
    """The database may be locked for seconds, and everybody else would wait for it, too."""
    application, _ = app(endpoint={"default": {"profile": "one"}}, **profile)
    assert application.in_force.endpoints.served["default"].takes_long is waits


def test_an_operator_goes_with_refuse(app):
    app(
        endpoint={"default": {"profile": "one", "challenge": "none", "approval": "manual"}},
        **REFUSE,
    )


def test_refused(app, challenges, logged):
    """The device reads rule and key of the profile, and the log has the same."""
    application, path = app(endpoint={"default": {"profile": "one"}}, **REFUSE)
    one, two = challenges(path, 2)
    answers = run(application, enrol(path, one, "device"), enrol(path, two, "stranger"))
    assert devices.read(answers[0].body, recipient(path)).certificate
    refusal = devices.read(answers[1].body, recipient(path), keys.device("stranger")).refusal
    text = "the subject has a valid certificate for another key (same_subject of the profile 'one')"
    assert refusal == ("badRequest", text)
    assert text in logged[-1]["reason"]


def test_replaced_in_the_background(app, challenges):
    application, path = app(endpoint={"default": {"profile": "one"}}, **REPLACE)
    one, two = challenges(path, 2, subject="CN=device")
    answers = run(application, enrol(path, one, "device"), enrol(path, two, "stranger"))
    old, new = (
        devices.read(answer.body, recipient(path), keys.device(name)).x509.serial_number
        for answer, name in zip(answers, ("device", "stranger"), strict=True)
    )
    home = data_directory.open_existing(path, now=datetime.now(UTC))
    with Store.open(home.settings.database_url) as store:
        for days, reason in ((6, None), (8, 4)):
            Sweep(home.settings, store, lambda d=days: datetime.now(UTC) + d * DAY).run()
            assert store.certificate(old).revocation_reason == reason
        assert store.certificate(new).revoked_at is None


DAY = timedelta(days=1)
