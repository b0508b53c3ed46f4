"""Facts about the promises in docs/operations.md: the tests they name are there."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).parent
DOCUMENT = (TESTS.parent / "docs" / "operations.md").read_text(encoding="utf-8")
NAMED = re.compile(r"`(?:tests/)?(?P<file>[\w/]*test_\w+\.py|…)(?:::(?P<test>test_\w+…?))?`")


def test_every_test_that_a_promise_names_is_there() -> None:
    """A promise whose test was renamed or removed is a promise no longer."""
    named = [match.groupdict() for match in NAMED.finditer(DOCUMENT)]
    assert len(named) > 20
    file = ""
    for one in named:
        file = one["file"] if one["file"] != "…" else file
        found = list(TESTS.rglob(Path(file).name))
        assert found, file
        test = (one["test"] or "").removesuffix("…")
        assert any(f"def {test}" in path.read_text() for path in found), f"{file}::{test}"
