"""What a check has found, and how findings are told: as a report for people, as a document for programs."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any


class Verdict(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARN = "warn"
    """The daemon works, but worse than it could, or not for long."""
    FAIL = "fail"
    """The daemon does not start, or not do what it is for."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What was looked at, what was found there (with numbers), and what to do about it.

    All is well without a cure; whatever is wrong has one.
    """

    verdict: Verdict
    what: str
    said: str
    cure: str = ""

    def __post_init__(self) -> None:
        if (self.verdict is Verdict.OK) == bool(self.cure):
            raise ValueError(f"{self.what}: {self.verdict} {'with' if self.cure else 'without'} a cure")


def ok(what: str, said: str) -> Finding:
    """Return the finding that all is well."""
    return Finding(Verdict.OK, what, said)


def warn(what: str, said: str, cure: str) -> Finding:
    """Return the finding that something could be better."""
    return Finding(Verdict.WARN, what, said, cure)


def fail(what: str, said: str, cure: str) -> Finding:
    """Return the finding that something does not work."""
    return Finding(Verdict.FAIL, what, said, cure)


def exit_status(findings: Sequence[Finding]) -> int:
    """Return 1 when something does not work, otherwise 0."""
    return int(any(finding.verdict is Verdict.FAIL for finding in findings))


def report(title: str, findings: Sequence[Finding], width: int) -> str:
    """Write the findings as text of at most `width` columns."""
    column = max(len(finding.what) for finding in findings)
    lines = [title]
    for finding in findings:
        mark = finding.verdict.value if finding.verdict is Verdict.OK else finding.verdict.value.upper()
        head = f"  {mark:4}  {finding.what:{column}}  "
        lines += _wrapped(head, finding.said, width)
        if finding.cure:
            lines += _wrapped(" " * (len(head) - 6) + "mend: ", finding.cure, width)
    counts = [
        f"{sum(finding.verdict is verdict for finding in findings)} {name}"
        for verdict, name in ((Verdict.OK, "fine"), (Verdict.WARN, "to look at"), (Verdict.FAIL, "broken"))
    ]
    return "\n".join([*lines, ", ".join(counts)]) + "\n"


def as_document(findings: Sequence[Finding]) -> dict[str, Any]:
    """Return the findings for JSON."""
    return {"ok": exit_status(findings) == 0, "findings": [asdict(finding) for finding in findings]}


def _wrapped(head: str, text: str, width: int) -> list[str]:
    # Paths and commands are to be copied whole, so no word is broken.
    return textwrap.wrap(
        text,
        max(width, len(head) + 40),
        initial_indent=head,
        subsequent_indent=" " * len(head),
        break_long_words=False,
        break_on_hyphens=False,
    ) or [head.rstrip()]
