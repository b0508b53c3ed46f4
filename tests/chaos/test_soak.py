"""Facts about the soak: a short one keeps what does not depend on time, and the bars can be missed."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.chaos.run_short import run_short
from tests.chaos.soak import Soak, missed, report
from tests.chaos.soak_site import EDGES, Books, Site


@pytest.mark.timeout(200)
def test_a_short_soak_loses_and_leaks_nothing(tmp_path: Path) -> None:
    """Two periods with all kinds of daemons: each file has one record, all come to rest, logs are clean."""
    done = run_short("soak", "--minutes", "0.2", "--period-s", "6", "--out", str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    document = json.loads((tmp_path / "soak.json").read_text())
    assert document["missed"] == []
    for name, rests in document["rests"].items():
        assert len({rest["descriptors"] for rest in rests}) == 1 or len(rests) < 2, (name, rests)
        assert rests[0]["tasks"], name
    assert "0 lost, 0 doubled" in (tmp_path / "soak.md").read_text()


@pytest.fixture
def books(tmp_path: Path) -> Site:
    """A site whose books are kept and that never starts a daemon."""
    return Site(tmp_path)


def record(name: str, picture: int | None, answer: int | None) -> dict[str, Any]:
    return {
        "name": name,
        "error": None if answer is not None else "not a readable image",
        "plan": {"cut": "cloud-only"},
        "ran": "cloud",
        "top5": [{"index": answer}] if answer is not None else [],
        "ms": {"queue": 1.0, "total": 2.0},
        "answered_at": "2026-01-01T00:00:00.000+00:00",
    }


def test_the_books_find_what_is_lost_doubled_wrong_and_foreign(books: Site) -> None:
    """Each kind of fault is entered, and each misses a bar."""
    for damaged in (None, None, "broken", None):
        books.offer("walk", damaged)
    first, second, broken, lost = books.books["walk"].offered
    books.books["walk"].offered[second] = books.books["walk"].offered[first]  # the same picture
    told = [
        record(first, 1, 4),
        record(second, 1, 5),  # another answer to the same picture
        record(broken, None, 3),  # an answer to what is no picture
        record(first, 1, 4),
        record("foreign.jpg", 1, 4),
    ]
    (books.root / "walk.jsonl").write_text("".join(json.dumps(one) + "\n" for one in told) + '{"name": "torn')
    latencies = books.read("walk")
    assert [one.latency_ms for one in latencies] == [3.0] * 5
    one = books.books["walk"]
    assert (one.doubled, one.foreign, [*one.offered]) == ([first], ["foreign.jpg"], [lost])
    assert one.wrong == [second, broken]
    assert not (books.inbox("walk") / first).exists()
    assert (books.inbox("walk") / lost).exists()
    soak = cast(Soak, SimpleNamespace(site=books, unrested=["at 7 s: walk"]))
    said = missed(soak, [], None, 60.0)
    wanted = ("1 lost", "1 doubled", "1 foreign", "2 wrong", "never at rest at 7 s")
    assert len(said) == len(wanted)
    assert all(what in text for what, text in zip(wanted, said, strict=True))


def test_results_are_taken_away_and_read_on(books: Site) -> None:
    """What comes after the results were taken away is read from the new file's beginning."""
    books.offer("walk")
    books.offer("walk")
    first, second = books.books["walk"].offered
    results = books.root / "walk.jsonl"
    results.write_text(json.dumps(record(first, 0, 1)) + "\n")
    assert [told.name for told in books.read("walk")] == [first]
    books.rotate("walk")
    assert books.read("walk") == []
    results.write_text(json.dumps(record(second, 1, 1)) + "\n")
    assert [told.name for told in books.read("walk")] == [second]


def test_a_cameras_directory_does_not_grow(books: Site) -> None:
    for _ in range(50):
        books.offer("camera")
    assert len([*books.inbox("camera").iterdir()]) == 20


def test_the_report_says_what_was_done() -> None:
    site = SimpleNamespace(books={name: Books(ran=Counter(cloud=1_000)) for name in EDGES})
    soak = cast(Soak, SimpleNamespace(site=site, faults=Counter(reset=2)))
    text = report(soak, [], None, 1800.0, ["something"])
    assert "30.0 minutes, of them 5.0 warm-up. Faults: reset 2." in text
    assert f"cloud {len(EDGES) * 1_000:,}" in text
    assert "MISSED: something" in text
