"""The benchmark for GPUs: what can be shown of it without one, and that no figure comes from anywhere else."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import torch

from benchmarks import bench_sections, cuda_tails
from benchmarks.bench import DOCUMENT, main
from benchmarks.bench_bars import State
from benchmarks.bench_document import render
from benchmarks.bench_part_rows import CudaRow
from benchmarks.bench_part_verdicts import cuda_verdict
from benchmarks.bench_report import Measured, sections_of
from benchmarks.bench_rows import Spread
from benchmarks.bench_run import Run
from benchmarks.bench_store import Saved
from benchmarks.cuda_tails import NOT_AT_HAND
from models.cuda_executor import CudaExecutor
from tests.benchmarks.bench_examples import MACHINE
from tests.models.fake_cuda import FakeCuda

TINY = "tests.tiny_model:factory"


def row(daemon: float = 11.0, model: str = "resnet50", batch: int = 8) -> CudaRow:
    return CudaRow(
        model=model,
        device="a GPU",
        batch=batch,
        ran_in=(batch,),
        daemon=Spread(daemon, daemon, daemon),
        plain=Spread(12.0, 12.0, 12.0),
        own=Spread(10.0, 9.0, 11.0),
    )


def test_the_faster_bare_pass_counts() -> None:
    """The daemon is not helped by a slow yardstick."""
    assert row(12.0).of_bare == pytest.approx(1.2)


def test_the_bar_is_about_both_models_at_eight_frames() -> None:
    """Open without figures, partly met with one model, missed by the worse one."""
    assert cuda_verdict([]).state is State.OPEN
    assert cuda_verdict([row(batch=1, daemon=99.0)]).state is State.OPEN
    assert cuda_verdict([row()]).state is State.PARTLY
    assert cuda_verdict([row(), row(model="inception_v3")]).state is State.MET
    missed = cuda_verdict([row(), row(12.5, "inception_v3")])
    assert (missed.state, missed.found) == (State.MISSED, "worst 1.25 (inception_v3)")


def test_its_rows_touch_no_other_section() -> None:
    """They come from another machine: the other sections and their verdicts stay as they are."""
    texts = sections_of(Measured(cuda=[Saved({}, MACHINE, "2026-01-01 10:00", (row(), row(batch=1)))]))
    assert set(texts) == {"cuda"}
    assert "| resnet50 | 8 | 8 | 11.00 (11.00–11.00) |" in texts["cuda"]
    assert "On a GPU." in texts["cuda"]
    assert "a CPU, 2 cores" in texts["cuda"]
    document = DOCUMENT.read_text(encoding="utf-8")
    assert "resnet50 | 8 | 8 |" in render(document, texts)


def test_batches_go_through_the_queue_and_have_a_time(tmp_path: Path) -> None:
    """The whole choreography, on a device that is none: every frame is answered, in batches of the sizes told."""
    run = Run(
        out=tmp_path, models=(TINY,), rates_bps=None, weights="random:0", slowdown=1.0, executor="torch",
        rounds=2, resume=False,
    )  # fmt: skip
    rows = run.rows("cuda", TINY, CudaRow, {})
    executor = CudaExecutor(FakeCuda())
    asyncio.run(bench_sections.cuda_model(TINY, rows, executor, 2, run, batches=(1, 4)))
    assert [found.batch for found in rows.rows] == [1, 4]
    for found in rows.rows:
        assert found.device == "a GPU"
        assert set(found.ran_in) <= {1, 2, 4}
        assert max(found.ran_in) <= found.batch
        assert min(found.daemon.median, found.plain.median, found.own.median) > 0
        assert found.daemon.median > found.own.low
    asyncio.run(bench_sections.cuda_model(TINY, rows, CudaExecutor(FakeCuda(refuses="x")), 2, run, (1, 4)))
    assert len(rows.rows) == 2, "what is there is not measured again"


@pytest.mark.skipif(torch.cuda.is_available(), reason="shows what happens without a CUDA device")
def test_without_a_gpu_nothing_is_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says so, writes no row, and leaves what stands in the document."""
    monkeypatch.setattr("benchmarks.bench.pin_driver", lambda cores: None)  # the other tests' process, too
    document = tmp_path / "doc.md"
    document.write_text("<!-- bench:cuda -->\nold\n<!-- /bench:cuda -->\n")
    options = ["--sections", "cuda", "--out", str(tmp_path / "out"), "--document", str(document)]
    assert main(options) == 0
    assert NOT_AT_HAND in capsys.readouterr().err
    assert document.read_text() == "<!-- bench:cuda -->\nold\n<!-- /bench:cuda -->\n"
    assert not (tmp_path / "out" / "cuda").exists()
    assert cuda_tails.main() == 1
    assert NOT_AT_HAND in capsys.readouterr().err
