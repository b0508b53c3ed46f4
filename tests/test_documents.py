"""Facts about the documents: what they link to is there, and what they name exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cloud_daemon.config import CloudSettings
from edge_daemon.config import EdgeSettings

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
IDS = [str(path.relative_to(ROOT)) for path in DOCUMENTS]


def anchors(document: Path) -> set[str]:
    """The anchors that a page's headings are given."""
    headings = re.findall(r"^#+ (.*)$", document.read_text(encoding="utf-8"), re.MULTILINE)
    words = [re.sub(r"[^\w\- ]", "", heading.strip().lower()) for heading in headings]
    return {word.replace(" ", "-") for word in words}


def broken_links(document: Path) -> list[str]:
    """The links of a document that lead nowhere in this tree."""
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", document.read_text(encoding="utf-8")):
        name, _, anchor = target.partition("#")
        if "://" in target:
            continue
        path = document.parent / name if name else document
        if not path.exists() or (anchor and path.suffix == ".md" and anchor not in anchors(path)):
            broken.append(target)
    return broken


@pytest.mark.parametrize("document", DOCUMENTS, ids=IDS)
def test_every_link_leads_somewhere(document: Path) -> None:
    """To a file of this tree, and to a heading in it."""
    assert broken_links(document) == []


def test_the_check_sees_a_broken_link(tmp_path: Path) -> None:
    """The test above can fail: for a missing file, and for a missing heading."""
    page = tmp_path / "page.md"
    page.write_text(
        "# One two\n[a](page.md#one-two) [b](page.md#three) [c](none.md) [d](https://example.org/x)\n"
    )
    assert broken_links(page) == ["page.md#three", "none.md"]


@pytest.mark.parametrize("document", DOCUMENTS, ids=IDS)
def test_every_setting_that_is_named_is_one(document: Path) -> None:
    """Whoever copies it from there would be told that there is no such setting."""
    kinds = (EdgeSettings, CloudSettings)
    known = {str(field.alias) for kind in kinds for field in kind.model_fields.values()}
    named = set(re.findall(r"CLEAVE_[A-Z]+(?:_[A-Z]+)*", document.read_text(encoding="utf-8")))
    assert {name for name in named - known if not any(setting.startswith(name) for setting in known)} == set()


@pytest.mark.parametrize("document", DOCUMENTS, ids=IDS)
def test_every_make_target_that_is_named_is_one(document: Path) -> None:
    """In a line of commands, or in code."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(" ".join(re.findall(r"^([a-z][a-z -]*):", makefile, re.MULTILINE)).split())
    named = set(
        re.findall(
            r"(?:`|^ +|sudo )make ([a-z][a-z-]*[a-z])(?![a-z…-])", document.read_text(encoding="utf-8"), re.M
        )
    )
    assert named <= targets
