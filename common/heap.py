"""The garbage collector's rounds, kept short in a process that has loaded a network."""

from __future__ import annotations

import gc


def settle_heap() -> None:
    """Leave what is there now out of all later rounds of the collector: it is there to stay.

    A whole round looks at every object. With torch and a model loaded that takes a third of a second and more, on
    whatever thread it falls, and comes so seldom that what closed connections leave behind adds up to megabytes.
    """
    gc.collect()
    gc.freeze()
