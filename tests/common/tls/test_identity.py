"""Facts about a certificate in force: it is read again without a restart, and its end is told ahead."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from common.errors import ConfigurationError
from common.tls import identity as module
from common.tls.certificates import DAY_S, CertificateFacts, TlsFiles
from common.tls.contexts import edge_context
from common.tls.identity import Identity, warn_of_end, why_worse
from tests.certificates import NOW, files
from tests.event_loop import run, until


def test_new_files_are_taken_up(tmp_path: Path) -> None:
    """The next connection gets another context, and the log says how long the new certificate lasts."""
    made = files(tmp_path, "porch", days=10)
    identity = Identity(made, edge_context)
    before = identity.context
    files(tmp_path, "porch", days=200)
    with capture_logs() as logged:
        identity.reload()
    assert identity.context is not before
    assert identity.facts.days_left(NOW.timestamp()) == pytest.approx(200, abs=0.01)
    assert [(line["event"], line["certificate"]) for line in logged] == [("certificates read again", "porch")]


def test_files_that_cannot_be_used_leave_the_old_ones_in_force(tmp_path: Path) -> None:
    """Half of a renewal costs nothing but a line in the log; at the start it is the operator's error."""
    made = files(tmp_path, "porch")
    identity = Identity(made, edge_context)
    before = identity.context
    made.key.unlink()
    with capture_logs() as logged:
        identity.reload()
    assert identity.context is before
    assert logged[0]["log_level"] == "error"
    assert "key.pem is missing" in logged[0]["reason"]
    with pytest.raises(ConfigurationError):
        Identity(made, edge_context)


def test_another_ones_certificate_is_not_taken_up(tmp_path: Path) -> None:
    """Neither another name, which the peer was not told, nor one that the daemon's own check refuses."""

    def check(facts: CertificateFacts) -> None:
        if not facts.for_edge:
            raise ConfigurationError("a cloud's")

    identity = Identity(files(tmp_path, "porch"), edge_context, check)
    before = identity.context
    for name, hosts, told in (("shed", (), "is shed's now, and was porch's"), ("porch", ("x",), "a cloud's")):
        files(tmp_path, name, hosts=hosts)
        with capture_logs() as logged:
            identity.reload()
        assert told in logged[0]["reason"]
        assert identity.context is before
        assert identity.facts.name == "porch"


@pytest.mark.parametrize(
    ("age_days", "told"), [(200.0, "the certificate ended 110.0 days ago"), (-5.0, "begins in 4.0 days")]
)
def test_one_that_nobody_accepts_does_not_replace_a_good_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, age_days: float, told: str
) -> None:
    """A reload with last year's files would shut this machine out; it goes on with what it has."""
    identity = Identity(files(tmp_path, "porch", days=90), edge_context)
    before = identity.context
    shifted = replace(
        identity.facts,
        not_before=identity.facts.not_before - age_days * DAY_S,
        not_after=identity.facts.not_after - age_days * DAY_S,
    )
    with monkeypatch.context() as patched, capture_logs() as logged:
        patched.setattr("time.time", NOW.timestamp)
        patched.setattr(TlsFiles, "check", lambda _: shifted)
        identity.reload()
    assert identity.context is before
    assert [line["log_level"] for line in logged] == ["error"]
    assert told in logged[0]["reason"]
    assert "the one in force is good for 90.0 more" in logged[0]["reason"]


def test_one_that_has_ended_may_be_replaced_by_any(tmp_path: Path) -> None:
    """There is nothing to keep: what the new one is, the log says."""
    facts = files(tmp_path, "porch", days=90).check()
    assert why_worse(facts, facts, NOW.timestamp() + 100 * DAY_S) is None
    assert why_worse(facts, facts, NOW.timestamp()) is None


@pytest.mark.parametrize(
    ("days", "level"), [(-1.5, "error"), (0.0, None), (59.0, None), (61.0, "warning"), (91.0, "error")]
)
def test_the_end_is_warned_of_thirty_days_ahead(days: float, level: str | None, tmp_path: Path) -> None:
    """And an end that has come, or a beginning that has not, is an error."""
    facts = files(tmp_path, "porch", days=90).check()
    with capture_logs() as logged:
        warn_of_end(facts, NOW.timestamp() + days * DAY_S)
    assert [line["log_level"] for line in logged] == ([level] if level else [])


def test_it_is_watched_again_and_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that runs for months is warned while it runs."""
    monkeypatch.setattr(module, "LOOK_AGAIN_S", 0.001)
    identity = Identity(files(tmp_path, "porch", days=20), edge_context)

    async def main() -> None:
        with capture_logs() as logged:
            task = asyncio.create_task(identity.watch())
            await until(lambda: len(logged) >= 3)
            task.cancel()
            await asyncio.wait([task])
        assert {line["event"] for line in logged} == {"certificate ends soon, issue a new one"}

    run(main())
