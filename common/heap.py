"""A daemon's heap: the collector's rounds are short and come often, and what is free goes back to the system."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import os

TIDY_S = 60.0


def decline_huge_pages() -> None:
    """Have numpy ask the system for no huge pages. Before anything imports it; who sets the variable decides.

    It asks for them for each array of 4 MiB, and what malloc makes of that array's place later keeps the mark: of a
    few bytes that are used there the kernel (khugepaged) makes 2 MiB some time, in an idle daemon, too.
    """
    os.environ.setdefault("NUMPY_MADVISE_HUGEPAGE", "0")


def settle_heap() -> None:
    """Leave what is there now out of all later rounds of the collector: it is there to stay.

    A whole round looks at every object, while all threads stand still. With torch and a model loaded that took 0.6
    and 1.1 s on two busy cores, and it comes so seldom that what closed connections leave adds up to megabytes.
    """
    gc.collect()
    gc.freeze()
    # A whole round waits until a quarter is new of what the last one found. This one finds next to nothing.
    gc.collect()


async def keep_heap_tidy() -> None:
    """Tidy the heap each minute, until cancelled.

    The collector counts objects, not bytes: hundreds of TLS handshakes that were broken off (50 kB each) would lie
    there before it comes by itself. And malloc keeps what is free between what is used: wherever a burst of frames
    or of connections has been, its pages stay, and the next one is elsewhere.
    """
    while True:
        await asyncio.sleep(TIDY_S)
        gc.collect()
        await asyncio.to_thread(give_back_free_memory)


def give_back_free_memory() -> None:
    """Have malloc return the pages that hold nothing to the system, where it can (glibc)."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(ctypes.c_size_t(0))
