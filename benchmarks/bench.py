"""All benchmarks in one run: `make bench`. Figures go to var/bench as soon as measured, the report to docs.

    python -m benchmarks.bench [--models M,…] [--rates R,…] [--sections S,…] [--resume]

Edge and cloud are processes in two network namespaces (as root), on one core each, the edge paced. With --resume,
points that an earlier run measured with the same settings on the same machine are kept; without it everything asked
for is measured anew, and only what lies beside it (other models, other rates) is kept.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

from benchmarks.bench_link import core_prefixes
from benchmarks.bench_report import write_report
from benchmarks.bench_run import Run
from benchmarks.bench_sections import SECTIONS, SectionError
from common.quantities import parse_bandwidth

DOCUMENT = Path("docs/benchmarks.md")


def read_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bench", description=__doc__.split("\n")[0])
    parser.add_argument("--models", help="torchvision classifiers, by comma; none: each section's own")
    parser.add_argument("--rates", help="of links, such as 4mbit,50mbit; none: each section's own")
    parser.add_argument("--sections", default=",".join(SECTIONS), help=f"of {', '.join(SECTIONS)}")
    parser.add_argument(
        "--resume", action="store_true", help="keep what was measured with the same settings on this machine"
    )
    parser.add_argument("--weights", default="random:0")
    parser.add_argument("--slowdown", type=float, default=8.0, help="how much slower the edge is played (8)")
    parser.add_argument("--executor", choices=("auto", "torch", "onnxruntime"), default="auto")
    parser.add_argument(
        "--rounds", type=int, help="turns that everybody has at each point; none: each section's"
    )
    parser.add_argument("--out", type=Path, default=Path("var/bench"))
    parser.add_argument("--document", type=Path, default=DOCUMENT, help="the report to write anew")
    parser.add_argument("--report-only", action="store_true", help="write the report of what there is")
    chosen = parser.parse_args(list(arguments))
    try:
        chosen.models = tuple(chosen.models.split(",")) if chosen.models else None
        chosen.rates = tuple(map(parse_bandwidth, chosen.rates.split(","))) if chosen.rates else None
        chosen.sections = tuple(chosen.sections.split(","))
        if unknown := set(chosen.sections) - set(SECTIONS):
            raise ValueError(f"no section {min(unknown)!r}; there are {', '.join(SECTIONS)}")
        if min(chosen.rates or (1.0,)) <= 0 or chosen.slowdown < 1 or (chosen.rounds or 1) < 1:
            raise ValueError("rates must be above 0, slowdown and rounds at least 1")
        if not chosen.document.is_file():
            raise ValueError(f"{chosen.document} is not there: a report is written between its markers")
    except ValueError as error:
        parser.error(str(error))
    return chosen


def pin_driver(cores: Sequence[int]) -> None:
    """Keep this process off the edge's core, whose time counts eightfold."""
    if all(core_prefixes(cores)):
        os.sched_setaffinity(0, {sorted(cores)[1]})


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is asked for, write the report; return the exit status. What is measured is kept whatever ends it."""
    options = read_arguments(sys.argv[1:] if arguments is None else arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # its processes and namespaces end with it
    out: Path = options.out.absolute()
    run = Run(
        out=out,
        models=options.models,
        rates_bps=options.rates,
        weights=options.weights,
        slowdown=options.slowdown,
        executor=options.executor,
        rounds=options.rounds,
        resume=options.resume,
    )
    status = 0
    if not options.report_only:
        if not options.resume:
            shutil.rmtree(out / "daemons", ignore_errors=True)
        cores = run.cores
        pin_driver(cores)
        status = measure(run, options.sections)
    write_report(options.document, out)
    print(f"{options.document} is written from {out}", file=sys.stderr)
    return status


def measure(run: Run, sections: Sequence[str]) -> int:
    """Run the sections one after another; one that fails does not keep the others from running."""
    status = 0
    for name in sections:
        began = time.monotonic()
        try:
            asyncio.run(SECTIONS[name](run))
        except SectionError as error:
            print(f"{name}: {error}", file=sys.stderr)
            status = 1
        except Exception:  # whatever it is: hours of other sections are not lost for it
            traceback.print_exc()
            status = 1
        except KeyboardInterrupt:
            print("stopped; --resume goes on from here", file=sys.stderr)
            return 130
        print(f"{name}: {(time.monotonic() - began) / 60:.1f} min", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
