"""Facts about the long run of mutants: it goes on where it was stopped, and counts each block once."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.fuzz import run as module
from tests.fuzz.run import BrokenInvariantError, Tally, main, run_block, total


def say(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["run", "--workers", "1", *arguments])
    return main()


def test_a_run_goes_on_where_it_was_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two thousand and then three more are the same five thousand as at once, from any first block."""
    state = str(tmp_path / "some" / "state.json")
    assert say(monkeypatch, "--mutants", "2000", "--first", "40", "--state", state) == 0
    seen: list[int] = []

    def noted(block: int) -> Tally:
        seen.append(block)
        return run_block(block)

    monkeypatch.setattr(module, "run_block", noted)
    assert say(monkeypatch, "--mutants", "5000", "--first", "40", "--state", state) == 0
    assert seen == [42, 43, 44]
    saved = json.loads(Path(state).read_text())
    whole = total(map(run_block, range(40, 45)))
    assert (saved["done"], saved["depths"], saved["ways"]) == (45, whole.depths, whole.ways)
    assert saved["bytewise"] == whole.bytewise
    with pytest.raises(SystemExit, match="of a run from block 40, not 7"):
        say(monkeypatch, "--first", "7", "--state", state)


def test_a_broken_invariant_ends_the_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The exit status tells, and the mutant is named."""

    def broken(block: int) -> Tally:
        raise BrokenInvariantError(f"mutant {block * 1000 + 5}")

    monkeypatch.setattr(module, "run_block", broken)
    assert say(monkeypatch, "--mutants", "1000") == 1
    assert "mutant 5" in capsys.readouterr().err
