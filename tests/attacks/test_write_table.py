"""Facts about the table of attacks: it is what the tests show, and no test is left out."""

from __future__ import annotations

import ast
from pathlib import Path

from tests.attacks.write_table import PAGE, attacks, modules, page

FACTS = {
    "test_write_table.py": 2,
    "test_floods.py": 1,  # that the limit which is shortened is the one that is promised
}
"""Tests here that are no attacks."""


def test_the_page_is_up_to_date() -> None:
    """`python -m tests.attacks.write_table` would change nothing."""
    text = PAGE.read_text(encoding="utf-8")
    assert page(text) == text


def test_every_test_says_what_comes_of_its_attack() -> None:
    """Each has an `Answer:`, in one sentence or more."""
    for path in modules():
        tests = [
            node.name
            for node in ast.parse(Path(path).read_text(encoding="utf-8")).body
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
        ]
        found = list(attacks(path))
        assert len(found) == len(tests) - FACTS.get(path.name, 0), path.name
        assert all(attack.answer.endswith(".") for attack in found)
