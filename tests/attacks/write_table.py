"""Write the table in docs/security-protocol.md from the tests' docstrings: `python -m tests.attacks.write_table`.

A test's docstring says what is tried, then `Answer:` and what comes of it.
"""

from __future__ import annotations

import argparse
import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "security-protocol.md"
BEGIN, END = "<!-- attacks: begin -->", "<!-- attacks: end -->"


@dataclass(frozen=True, slots=True)
class Attack:
    """What is tried, what comes of it, and the test that shows it."""

    tried: str
    answer: str
    test: str


def attacks(path: Path) -> Iterator[Attack]:
    """Read the attacks of one module."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        said = ast.get_docstring(node) if isinstance(node, ast.FunctionDef) else None
        if said and "\nAnswer: " in said and isinstance(node, ast.FunctionDef):
            tried, answer = (" ".join(part.split()) for part in said.split("\nAnswer: "))
            yield Attack(tried, answer, node.name)


def modules() -> list[Path]:
    """Name the modules whose attacks are on the protocol; those on TLS are another page's."""
    return [path for path in sorted(HERE.glob("test_*.py")) if not path.name.startswith("test_tls")]


def table() -> str:
    """Make the table, a section for each module of tests."""
    lines: list[str] = []
    for path in modules():
        found = list(attacks(path))
        if found:
            about = (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").splitlines()[0]
            lines += [f"### {about.rstrip('.')}", "", f"`tests/attacks/{path.name}`", ""]
            lines += ["| what is tried | what comes of it | test |", "|---|---|---|"]
            rows = [(a.tried, a.answer, f"`{a.test.removeprefix('test_')}`") for a in found]
            lines += [f"| {' | '.join(cell.replace('|', '∣') for cell in row)} |" for row in rows]
            lines.append("")
    return "\n".join(lines)


def page(text: str) -> str:
    """Put the table into the page."""
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n\n{table()}\n{END}{after}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="only say whether the page is up to date")
    text = PAGE.read_text(encoding="utf-8")
    wanted = page(text)
    if parser.parse_args().check:
        return int(text != wanted)
    PAGE.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
