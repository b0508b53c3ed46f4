"""A document with sections between markers: what stands between them is written anew, all else stays. Pure.

<!-- bench:regret -->
… generated …
<!-- /bench:regret -->
"""

from __future__ import annotations

import re
from collections.abc import Mapping

NOT_MEASURED = "Not measured."
_SECTION = re.compile(r"<!-- bench:(?P<name>\S+) -->\n(?P<body>.*?)<!-- /bench:(?P=name) -->", re.DOTALL)
_LINE = re.compile(r"^\| (?P<cells>.*) \|$", re.MULTILINE)


def render(document: str, texts: Mapping[str, str]) -> str:
    """Return `document` with the texts between their sections' markers; a section without a text keeps its own.

    Raises `ValueError` naming a section that the document has no markers for.
    """
    names = {match["name"] for match in _SECTION.finditer(document)}
    if missing := sorted(set(texts) - names):
        raise ValueError(f"no markers <!-- bench:{missing[0]} --> in the document")

    def fill(match: re.Match[str]) -> str:
        body = texts.get(match["name"]) or match["body"].strip() or NOT_MEASURED
        return f"<!-- bench:{match['name']} -->\n{body}\n<!-- /bench:{match['name']} -->"

    return _SECTION.sub(fill, document)


def table_lines(document: str, name: str) -> dict[str, list[str]]:
    """Return the cells of each line of a section's table, by the first of them."""
    body = "".join(match["body"] for match in _SECTION.finditer(document) if match["name"] == name)
    lines = [match["cells"].split(" | ") for match in _LINE.finditer(body)]
    return {cells[0]: cells for cells in lines}
