"""Facts about the collector's rounds in a daemon."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
PROGRAM = """
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


def test_what_is_there_at_the_start_is_looked_at_no_more_and_later_garbage_is() -> None:
    """In a process of its own: what is frozen would stay so for all other tests."""
    said = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    assert said.stdout == "True False\nTrue\n"
