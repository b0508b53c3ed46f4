"""Facts about logs: one event a line on stderr, JSON unless a person reads, the libraries' events among them."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from common.telemetry import (
    MOST_EVENTS,
    MOST_REPEATS,
    REPEATS_S,
    LogFormat,
    SeldomRepeats,
    configure_logging,
    goes_to_journal,
)


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    """Leave logging as it was: the stream of these tests is gone after them."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def json_lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.parametrize("log_format", ["json", "auto"])
def test_away_from_a_terminal_each_event_is_a_json_object(
    log_format: LogFormat, capsys: pytest.CaptureFixture[str]
) -> None:
    """Level, time in UTC, the daemon and all fields are there, each event on its line, and stdout stays free."""
    configure_logging(log_format, "info", "cleave-edge")
    log = structlog.get_logger()
    log.info("plan", cut="after conv", reason="línea\nsecond")
    log.warning("link suspected")
    out, err = capsys.readouterr()
    first, second = json_lines(err)
    assert out == ""
    assert first.pop("timestamp").endswith("Z")
    assert first == {
        "event": "plan",
        "level": "info",
        "daemon": "cleave-edge",
        "cut": "after conv",
        "reason": "línea\nsecond",
    }
    assert second["event"] == "link suspected"


def test_the_journal_is_told_each_lines_priority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes the prefix off, and `journalctl -p warning` finds what it should."""
    with (tmp_path / "journal").open("w+") as journal:
        found = os.fstat(journal.fileno())
        monkeypatch.setattr(sys, "stderr", journal)
        monkeypatch.setenv("JOURNAL_STREAM", f"{found.st_dev}:{found.st_ino}")
        configure_logging("json", "info", "cleave-edge")
        log = structlog.get_logger()
        log.info("plan")
        log.warning("link suspected")
        log.error("frame failed")
        journal.seek(0)
        lines = journal.read().splitlines()
    assert [line[:3] for line in lines] == ["<6>", "<4>", "<3>"]
    assert [json.loads(line[3:])["event"] for line in lines] == ["plan", "link suspected", "frame failed"]


def test_another_stream_than_the_journals_gets_no_prefix(tmp_path: Path) -> None:
    """A child with its own stderr inherits the variable: lines there stay JSON."""
    with (tmp_path / "file").open("w") as file:
        assert not goes_to_journal(file, {"JOURNAL_STREAM": "8:1"})
        assert not goes_to_journal(file, {})
    assert not goes_to_journal(io.StringIO(), {"JOURNAL_STREAM": "8:1"})


@pytest.mark.parametrize(
    ("level", "shown"),
    [
        ("debug", ["debug", "info", "warning", "error"]),
        ("info", ["info", "warning", "error"]),
        ("warning", ["warning", "error"]),
        ("error", ["error"]),
    ],
)
def test_less_important_events_are_left_out(
    level: Any, shown: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """The level in the settings is the least that is logged."""
    configure_logging("json", level, "cleave-edge")
    log = structlog.get_logger()
    for name in ("debug", "info", "warning", "error"):
        getattr(log, name)("event")
    assert [line["level"] for line in json_lines(capsys.readouterr().err)] == shown


def test_the_libraries_warnings_are_events_too(capsys: pytest.CaptureFixture[str]) -> None:
    """What asyncio or the scheduler log comes out in the same form; their chatter does not."""
    configure_logging("json", "info", "cleave-cloud")
    logging.getLogger("asyncio").warning("Executing %s took %d s", "it", 3)
    logging.getLogger("apscheduler").info("added job")
    (line,) = json_lines(capsys.readouterr().err)
    assert (line["event"], line["source"], line["level"]) == ("Executing it took 3 s", "asyncio", "warning")
    assert line["daemon"] == "cleave-cloud"


def test_an_exception_is_in_its_events_line(capsys: pytest.CaptureFixture[str]) -> None:
    """A traceback is a field of its event, so that it can be found by what it belongs to."""
    configure_logging("json", "info", "cleave-cloud")
    try:
        raise ZeroDivisionError("a bug")
    except ZeroDivisionError:
        structlog.get_logger().exception("session failed", session="7")
    (line,) = json_lines(capsys.readouterr().err)
    assert line["session"] == "7"
    assert "ZeroDivisionError: a bug" in line["exception"]


def test_on_a_terminal_events_are_readable(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A person gets no JSON: the event, then what belongs to it."""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    configure_logging("auto", "info", "cleave-edge")
    structlog.get_logger().info("cloud connected", cloud="rack")
    line = capsys.readouterr().err
    assert "cloud connected" in line
    assert "rack" in line
    with pytest.raises(ValueError, match=r"."):
        json.loads(line)


def test_what_repeats_without_end_is_left_out_and_counted() -> None:
    """Twenty lines in ten seconds, then silence; the first one after them says how many are missing."""
    now = 0.0
    seldom = SeldomRepeats(lambda: now)
    logged = []
    for number in range(1000):
        now = number * REPEATS_S / 1000
        try:
            logged.append(seldom(None, "warning", {"event": "frame failed", "name": number}))
        except structlog.DropEvent:
            continue
    assert [entry["name"] for entry in logged] == list(range(MOST_REPEATS))
    now = REPEATS_S
    assert seldom(None, "warning", {"event": "frame failed"})["left_out_before"] == 1000 - MOST_REPEATS
    assert "left_out_before" not in seldom(None, "warning", {"event": "frame failed"})


def test_a_flood_hides_no_other_event() -> None:
    """A plan's switch is logged amid a thousand broken frames."""
    seldom = SeldomRepeats(lambda: 0.0)
    for _ in range(1000):
        with contextlib.suppress(structlog.DropEvent):
            seldom(None, "warning", {"event": "frame failed"})
    assert seldom(None, "info", {"event": "plan", "epoch": 2}) == {"event": "plan", "epoch": 2}


def test_events_that_are_never_the_same_take_no_memory() -> None:
    """A library that writes a number into each of its messages."""
    seldom = SeldomRepeats(lambda: 0.0)
    for number in range(3 * MOST_EVENTS):
        seldom(None, "warning", {"event": f"took {number} s"})
    assert len(seldom._seen) <= MOST_EVENTS


def test_a_flood_in_the_real_log_is_short(capsys: pytest.CaptureFixture[str]) -> None:
    """The limit is part of what the daemons log through."""
    configure_logging("json", "info", "cleave-edge")
    log = structlog.get_logger()
    for number in range(500):
        log.warning("frame failed", name=f"{number}.jpg")
    assert len(json_lines(capsys.readouterr().err)) == MOST_REPEATS


class Full(io.StringIO):
    """A stream on a disk that is full for a while."""

    full = True

    def write(self, text: str) -> int:
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(text)

    def flush(self) -> None:
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")


def test_a_line_that_cannot_be_written_harms_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever logs goes on, whether the disk is full or the reader has gone; later lines are written again."""
    stream = Full()
    monkeypatch.setattr(sys, "stderr", stream)
    configure_logging("json", "info", "cleave-edge")
    log = structlog.get_logger()
    log.info("lost")
    logging.getLogger("asyncio").error("lost, too")
    stream.full = False
    log.info("kept")
    (line,) = json_lines(stream.getvalue())
    assert line["event"] == "kept"
    stream.close()
    log.info("to nobody")
