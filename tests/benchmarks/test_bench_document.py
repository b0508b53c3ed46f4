"""Generated text between markers, everything else as it was."""

from __future__ import annotations

import pytest

from benchmarks.bench_document import NOT_MEASURED, render, table_lines

TEXT = """# Title
by hand
<!-- bench:regret -->
old
<!-- /bench:regret -->
by hand, too
<!-- bench:rpc -->
of another day
<!-- /bench:rpc -->
<!-- bench:overhead -->
<!-- /bench:overhead -->
"""
VERDICTS = """| a bar | no verdict | of no section |
<!-- bench:verdicts -->
| bar | verdict | found |
| --- | --- | --- |
| latency ≤ 1.05 × | **not met** | 39 of 42; median 0.998 |
| … and no frame | not measured |  |
<!-- /bench:verdicts -->
"""


def test_only_what_was_measured_is_written_anew() -> None:
    """Hand-written text stays, and so does a section that this run has nothing on; an empty one says so."""
    text = render(TEXT, {"regret": "new\n\ntable"})
    assert text == TEXT.replace("old", "new\n\ntable").replace(
        "<!-- bench:overhead -->\n", f"<!-- bench:overhead -->\n{NOT_MEASURED}\n"
    )
    assert render(text, {"regret": "new\n\ntable"}) == text


def test_a_section_without_markers_is_an_error() -> None:
    """What was measured for it would be written nowhere."""
    with pytest.raises(ValueError, match="bench:planner"):
        render(TEXT, {"planner": "x"})


def test_a_tables_lines_are_known_by_their_first_cells() -> None:
    """Those of one section alone, also a line that ends in an empty cell."""
    lines = table_lines(VERDICTS, "verdicts")
    assert lines["latency ≤ 1.05 ×"] == ["latency ≤ 1.05 ×", "**not met**", "39 of 42; median 0.998"]
    assert lines["… and no frame"] == ["… and no frame", "not measured", ""]
    assert "a bar" not in lines
    assert table_lines(VERDICTS, "regret") == {}
