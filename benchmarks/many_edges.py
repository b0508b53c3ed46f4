"""Many edges on one cloud, as a command: one cut, with whatever load is asked for.

    python -m benchmarks.many_edges --model resnet18 --cut "after add_3" --edges 16

`benchmarks.bench_many` measures; `make bench` has it measure the cuts that the bars are about.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import sys
from dataclasses import fields
from functools import partial
from pathlib import Path

from benchmarks.bench_bars import MANY_EDGES, ROUNDS
from benchmarks.bench_many import Load, measure, tail_of


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="resnet18")
    parser.add_argument("--weights", default="random:0")
    parser.add_argument("--cut", default="after add_3", help="a cut's label; edge-only has no tail")
    parser.add_argument("--edges", type=int, default=MANY_EDGES)
    parser.add_argument("--in-flight", type=int, default=2, help="frames of each edge on their way at a time")
    parser.add_argument("--executor", default="onnxruntime", choices=("torch", "onnxruntime"))
    parser.add_argument("--batch-max", type=int, default=8)
    parser.add_argument("--batch-wait-ms", type=float, default=0.0)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--rounds", type=int, default=ROUNDS["many"])
    parser.add_argument("--out", type=Path, default=Path("var/many-edges"))
    options = parser.parse_args()
    load = Load(**{field.name: getattr(options, field.name) for field in fields(Load)})
    try:
        tail_of(load)
    except ValueError as error:
        parser.error(str(error))
    cloud_core, *others = sorted(os.sched_getaffinity(0))
    if others:
        os.sched_setaffinity(0, {others[0]})
    say = partial(print, flush=True)
    crowd = asyncio.run(measure(load, options.out, cloud_core if others else None, say))
    ratio = statistics.median(one.of_alone for one in crowd.rounds)
    slowest = statistics.median(one.slowest for one in crowd.rounds)
    print(f"medians: {ratio:.2f} of the executor alone; the slowest edge gets {slowest:.2f} of the mean")
    document = {"options": {k: str(v) for k, v in vars(options).items()}, "ratio": ratio, "slowest": slowest}
    (options.out / "many_edges.json").write_text(json.dumps(document, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
