"""What the daemons of a bed begin with, and what they leave."""

from __future__ import annotations

from pathlib import Path

from benchmarks.bench_bed import Bed, Pair
from benchmarks.bench_link import BenchLink, Ports


class NoLink:
    """An edge that is not started needs none."""

    def set_rate(self, rate_bps: float) -> None:
        raise AssertionError("the rate of a link that nobody asked for")


def bed_in(work: Path) -> Bed:
    link = BenchLink("none", NoLink(), Ports(1, 2, 3, 4), "127.0.0.1", "127.0.0.1", (), ())
    return Bed(Pair("resnet18", "random:0", 8.0, "torch"), link, work, ())


def run_of(bed: Bed, number: int) -> None:
    """Leave what an edge leaves that ran."""
    edge = bed.adaptive()
    edge.results.write_text(f"record {number}")
    edge.log.write_text(f"log {number}")
    edge.state.mkdir(exist_ok=True)
    (edge.state / "status.json").write_text("{}")


def test_what_an_edge_told_is_kept_beside_that_of_the_next_one(tmp_path: Path) -> None:
    """Each group of a model's links has an edge of the same name."""
    bed = bed_in(tmp_path)
    for number in (1, 2):
        run_of(bed, number)
    edge = bed.adaptive()
    assert edge.records() == []
    assert edge.status() == {}
    assert not edge.log.exists()
    for number in (1, 2):
        assert (tmp_path / f"adaptive-{number}.jsonl").read_text() == f"record {number}"
        assert (tmp_path / f"adaptive-{number}.log").read_text() == f"log {number}"


def test_what_a_cloud_told_is_kept_beside_that_of_the_next_one(tmp_path: Path) -> None:
    """Each section has one: what went wrong in the first is not to be understood by the log of the last."""
    bed = bed_in(tmp_path)
    for number in (1, 2):
        bed.cloud().log.write_text(f"log {number}")
    assert not bed.cloud().log.exists()
    assert [(tmp_path / f"cloud-{number}.log").read_text() for number in (1, 2)] == ["log 1", "log 2"]
