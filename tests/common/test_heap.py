"""Facts about a daemon's heap: what the collector looks at, how soon it comes, and what goes back to the system."""

from __future__ import annotations

import asyncio
import ctypes
import os
import subprocess
import sys
import weakref
from pathlib import Path

import pytest

from common import heap
from tests.event_loop import run, until

ROOT = Path(__file__).parent.parent.parent
SETTLED = """
import gc, weakref
from common.heap import settle_heap

class Knot:
    def __init__(self):
        self.itself = self

stays = [[n] for n in range(1000)]
before = Knot()
settle_heap()
print(gc.get_freeze_count() >= 1000, any(one is stays for one in gc.get_objects()))
knot = Knot()
seen = weakref.ref(knot)
del knot
gc.collect()
print(seen() is None)
"""
LARGE_ARRAY = """
import sys
from pathlib import Path
from common.heap import decline_huge_pages

assert "numpy" not in sys.modules
if sys.argv[1] == "declined":
    decline_huge_pages()
import numpy as np

array = np.ones(4 * 2**20)
lines = Path("/proc/self/smaps").read_text().splitlines()
print(sum("hg" in line.split() for line in lines if line.startswith("VmFlags")))
"""
OLD_GARBAGE = """
import gc, weakref
from common.heap import settle_heap

class Knot:
    def __init__(self):
        self.itself = self

stays = [[n] for n in range(1_000_000)]
settle_heap()
knot = Knot()
seen = weakref.ref(knot)
gc.collect(1)  # it is old now: only a whole round finds it
del knot
later = [[n] for n in range(200_000)]
print(seen() is None)
"""
FREED = """
from common.heap import give_back_free_memory
from tests.chaos.process_figures import rss_bytes

held = [b"x" * 100_000 for _ in range(400)]
last = held[-1]  # what lies above the others keeps the heap from shrinking by itself
held.clear()
before = rss_bytes("self")
give_back_free_memory()
print(before - rss_bytes("self") > 30_000_000)
"""


def said_by(program: str) -> str:
    """Run a program in a process of its own: what is frozen would stay so for all other tests."""
    return subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    ).stdout


def test_what_is_there_at_the_start_is_looked_at_no_more_and_later_garbage_is() -> None:
    """Circles of later objects die in the next round."""
    assert said_by(SETTLED) == "True False\nTrue\n"


def test_whole_rounds_come_as_often_as_later_objects_ask_for() -> None:
    """A million objects of the start do not put them off until a quarter of a million is new."""
    assert said_by(OLD_GARBAGE) == "True\n"


@pytest.mark.skipif(sys.platform != "linux", reason="what is resident is read as Linux tells it")
def test_what_is_free_goes_back_to_the_system() -> None:
    """Forty megabytes below one small object that stays."""
    assert said_by(FREED) == "True\n"


def test_each_minute_circles_die_and_free_memory_goes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without anything being allocated, and again and again; on its own the collector would not come."""

    class Knot:
        def __init__(self) -> None:
            self.itself = self

    given_back: list[None] = []
    monkeypatch.setattr(heap, "TIDY_S", 0.01)
    monkeypatch.setattr(heap, "give_back_free_memory", lambda: given_back.append(None))

    async def main() -> None:
        tidying = asyncio.create_task(heap.keep_heap_tidy())
        for _ in range(2):
            before, seen = len(given_back), weakref.ref(Knot())
            await until(lambda before=before, seen=seen: seen() is None and len(given_back) > before)  # type: ignore[misc]
        tidying.cancel()

    run(main())


def test_where_malloc_cannot_give_anything_back_nothing_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """musl and macOS have no `malloc_trim`."""
    monkeypatch.setattr(ctypes, "CDLL", lambda _: object())
    heap.give_back_free_memory()


@pytest.mark.skipif(
    not Path("/sys/kernel/mm/transparent_hugepage").exists(), reason="the kernel makes no huge pages"
)
@pytest.mark.parametrize("declined", [True, False])
def test_numpy_asks_for_no_huge_pages_once_they_are_declined(declined: bool) -> None:
    """A large array's place bears no mark by which the kernel would fill it up later; by itself numpy makes one."""
    environment = {name: value for name, value in os.environ.items() if name != "NUMPY_MADVISE_HUGEPAGE"}
    done = subprocess.run(
        [sys.executable, "-c", LARGE_ARRAY, "declined" if declined else "not"],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert (int(done.stdout) == 0) is declined
