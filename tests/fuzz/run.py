"""Run mutants by the million: `python -m tests.fuzz.run --mutants 100000000 --state FILE`.

Each block of 1,000 is one piece of work; what is done is kept in the state file, so that a later run goes on where
this one was stopped, also on another machine (`make fuzz` keeps it in the repository). The first mutant that breaks
an invariant ends the run, with its number and its bytes.
"""

from __future__ import annotations

import argparse
import gc
import json
import multiprocessing
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from common.files import write_atomically
from tests.fuzz.mutants import BLOCK, mutants
from tests.fuzz.oracle import check

BYTEWISE = 64
"""One of so many mutants is also fed byte by byte: that takes as long as a hundred fed whole."""


class BrokenInvariantError(AssertionError):
    """A mutant did what no bytes may do."""


@dataclass(frozen=True, slots=True)
class Tally:
    """Outcomes of mutants: how many came how deep, how many were damaged in each way, how many went byte by byte."""

    depths: Counter[str]
    ways: Counter[str]
    bytewise: int


def run_block(block: int, bytewise: int = BYTEWISE) -> Tally:
    """Check the mutants of a block. Raises `BrokenInvariantError`, naming the mutant, for the first that fails."""
    cuts = random.Random(~block)
    depths: Counter[str] = Counter()
    ways: Counter[str] = Counter()
    single = 0
    for place, mutant in enumerate(mutants(block * BLOCK, BLOCK)):
        each = (block * BLOCK + place) % bytewise == 0
        single += each
        drawn = cuts.getrandbits(48)
        try:
            outcome = check(
                mutant, (drawn & 0xFFFF, drawn >> 16 & 0xFFFF, drawn >> 32)[: 1 + place % 3], bytewise=each
            )
        except Exception as error:  # whatever it is: no bytes from outside may cause it
            raise BrokenInvariantError(
                f"mutant {block * BLOCK + place} ({mutant.way}, heard by the {mutant.role.name} in "
                f"{mutant.state.name}): {type(error).__name__}: {error}; stream {mutant.stream.hex()}"
            ) from error
        depths[outcome.depth] += 1
        ways[mutant.way] += 1
    return Tally(depths, ways, single)


def run_blocks(blocks: range, workers: int) -> Iterator[Tally]:
    """Check blocks, in order, on so many processes."""
    if workers == 1:
        yield from map(run_block, blocks)
        return
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        yield from pool.imap(run_block, blocks, chunksize=5)


def total(tallies: Iterator[Tally]) -> Tally:
    """Add tallies up."""
    depths: Counter[str] = Counter()
    ways: Counter[str] = Counter()
    bytewise = 0
    for tally in tallies:
        depths.update(tally.depths)
        ways.update(tally.ways)
        bytewise += tally.bytewise
    return Tally(depths, ways, bytewise)


def table(counts: Counter[str]) -> str:
    """Show counts with their shares."""
    whole = counts.total() or 1
    return "\n".join(f"{n:>12,} {n / whole:7.2%}  {name}" for name, n in sorted(counts.items()))


# --- the long run ---------------------------------------------------------------------------------------
def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--mutants", type=int, default=1_000_000, help="how many in all, rounded up to thousands"
    )
    parser.add_argument(
        "--first", type=int, default=0, help="the block to begin with, where there is no state"
    )
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--state", type=Path, help="where to keep what is done, to go on later")
    asked = parser.parse_args()
    done, depths, ways, bytewise, spent_s = _load(asked.state, asked.first)
    if done > asked.first:
        print(f"{(done - asked.first) * BLOCK:,} were done before, in {spent_s:,.0f} s", flush=True)
    end = asked.first + -(-asked.mutants // BLOCK)
    began = saved = time.monotonic()
    try:
        for tally in run_blocks(range(done, end), asked.workers):
            done += 1
            depths.update(tally.depths)
            ways.update(tally.ways)
            bytewise += tally.bytewise
            now = time.monotonic()
            if now - saved > 10.0 or done == end:
                saved = now
                _save(asked.state, asked.first, done, depths, ways, bytewise, spent_s + now - began)
    except BrokenInvariantError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; say it again to go on", file=sys.stderr)
    spent_s += time.monotonic() - began
    ran = (done - asked.first) * BLOCK
    print(
        f"{ran:,} mutants in {spent_s:,.0f} s, {ran / max(spent_s, 1e-9):,.0f}/s, {bytewise:,} byte by byte too"
    )
    print(table(depths), table(ways), sep="\n\n")
    return 0 if done >= end else 130


Progress = tuple[int, Counter[str], Counter[str], int, float]


def _load(path: Path | None, first: int) -> Progress:
    if path is None or not path.exists():
        return first, Counter(), Counter(), 0, 0.0
    saved = json.loads(path.read_text(encoding="utf-8"))
    if saved["first"] != first:
        raise SystemExit(f"{path} is of a run from block {saved['first']}, not {first}: name another file")
    return (
        saved["done"],
        Counter(saved["depths"]),
        Counter(saved["ways"]),
        saved["bytewise"],
        saved["spent_s"],
    )


def _save(
    path: Path | None,
    first: int,
    done: int,
    depths: Counter[str],
    ways: Counter[str],
    bytewise: int,
    spent_s: float,
) -> None:
    if path is None:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {
        "first": first, "done": done, "depths": depths, "ways": ways, "bytewise": bytewise, "spent_s": spent_s
    }  # fmt: skip
    write_atomically(path, json.dumps(document, indent=1))


if __name__ == "__main__":
    gc.freeze()
    sys.exit(main())
