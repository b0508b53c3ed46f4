"""`profile` and `verify`, on a network that loads in milliseconds."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from common.profile import Profile
from edge_daemon.commands import profile, verify
from edge_daemon.commands.progress import Progress
from models import verification
from models.model import Model

TINY = "tests.tiny_model:factory"


def test_profile_saves_what_the_planner_reads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The file is a profile of every unit, for the pace that was asked for; the costliest units are shown."""
    out = tmp_path / "edge.json"
    status = profile.main(
        ["--model", TINY, "--weights", "random:0", "--threads", "1", "--slowdown", "4", "--out", str(out)]
    )
    assert status == 0
    saved = Profile.from_json(out.read_bytes())
    assert {"frame", "decode", "resize", "normalize", "answer"} < set(saved.unit_ms)
    assert (saved.key.threads, saved.key.slowdown, saved.key.frame) == (1, 4.0, "1280x720")
    assert saved.total_ms > 0
    assert "decode" in capsys.readouterr().out


def test_verify_tells_the_largest_deviation(capsys: pytest.CaptureFixture[str]) -> None:
    """A network whose cuts agree ends with status 0 and one line."""
    assert verify.main(["--model", TINY, "--weights", "random:0", "--threads", "1"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert "largest deviation" in line


def test_verify_fails_when_a_cut_gives_other_answers(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Tails that compute something else are found: status 2, and the cut is named."""
    honest = verification._run

    def tampered(
        model: Model, executor: object, units: tuple[str, ...], outputs: tuple[str, ...], tensors: object
    ) -> dict[str, torch.Tensor]:
        found = honest(model, executor, units, outputs, tensors)  # type: ignore[arg-type]
        whole = len(units) == len(model.graph)
        return found if whole else {n: t * 1.01 if t.is_floating_point() else t for n, t in found.items()}

    monkeypatch.setattr(verification, "_run", tampered)
    assert verify.main(["--model", TINY, "--weights", "random:0"]) == 2
    assert "deviates by" in capsys.readouterr().err


def test_what_cannot_be_read_or_written_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A missing frame, an unknown model and an unwritable file end with status 2 and no traceback."""
    nowhere = str(tmp_path / "no" / "where")
    for arguments in (
        ["--model", TINY, "--weights", "random:0", "--out", nowhere],
        ["--model", TINY, "--weights", "random:0", "--frame", nowhere, "--out", str(tmp_path / "a.json")],
        ["--model", "resnet81", "--weights", "random:0", "--out", str(tmp_path / "a.json")],
    ):
        assert profile.main(arguments) == 2
        assert len(capsys.readouterr().err.splitlines()) == 1


def test_the_bar_knows_the_time_left() -> None:
    """After a quarter of the steps, three times as long is left as has passed."""
    progress = Progress(8, "cuts")
    progress._started = 100.0
    progress.advance()
    progress.advance()
    assert progress.line(110.0).endswith("2/8 cuts, 30 s left")
