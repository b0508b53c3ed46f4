"""Facts about results that go to what is no file: whole lines, each once."""

from __future__ import annotations

import errno
import io
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_daemon.results_file import open_results
from edge_daemon.results_stream import ResultsStream
from tests.edge_daemon.records import line


class Room:
    """A disk behind a stream, with room for so many bytes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, descriptor: int) -> None:
        self.room = 0
        self._descriptor = descriptor
        self._write = os.write
        monkeypatch.setattr(os, "write", self.write)

    def write(self, descriptor: int, data: Any) -> int:
        if descriptor != self._descriptor:
            return self._write(descriptor, data)
        if not self.room:
            raise OSError(errno.ENOSPC, "No space left on device")
        taken = self._write(descriptor, memoryview(data)[: self.room])
        self.room -= taken
        return taken


@pytest.mark.parametrize("stream", ["-", "fifo"])
@given(rooms=st.lists(st.integers(0, 700), max_size=8), keeps=st.booleans())
def test_a_stream_that_takes_a_part_has_each_line_once(stream: str, rooms: list[int], keeps: bool) -> None:
    """Its disk is full for a while: a batch tried again goes on where it was, one given up leaves no torn line."""
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as directory:
        fifo = Path(directory) / "fifo"
        os.mkfifo(fifo)
        reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
        with fifo.open("wb") as writer:
            patch.setattr(sys, "stdout", io.TextIOWrapper(writer))
            target = open_results("-" if stream == "-" else str(fifo))
            assert isinstance(target, ResultsStream)
            disk = Room(patch, (target._file or sys.stdout).fileno())
            number, sure = 0, []
            for room in [*rooms, 10**6]:
                disk.room = room
                try:
                    target.commit(line(number) + line(number + 1))
                except OSError:
                    number += 0 if keeps else 2
                else:
                    sure += [number, number + 1]
                    number += 2
            got = os.read(reader, 10**6).splitlines(keepends=True)
            os.close(reader)
            target.close()
    assert set(got) <= {line(number) for number in range(number)}, "whole lines"
    assert len(set(got)) == len(got), "each once"
    assert [one for one in got if one in map(line, sure)] == [line(one) for one in sure]
