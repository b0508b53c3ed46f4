"""What `cleave-edge doctor` and `cleave-cloud doctor` share: arguments, whose environment, the report."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from common.command_line import OneLineParser, run
from common.config import Settings
from common.doctor.account import Account, account_to_check
from common.doctor.environment import as_kept, read_environment_file, service_environment
from common.doctor.finding import Finding, as_document, exit_status, fail, report
from common.doctor.unit import UnitFacts, look_at_unit
from common.errors import ConfigurationError

WIDTH = 118
"""Longer lines are hard to read, however wide the terminal is."""

Chosen = TypeVar("Chosen", bound=Settings)


@dataclass(frozen=True, slots=True)
class Patient(Generic[Chosen]):
    """Whom the doctor looks at: the service's unit, user and environment, and the settings in it."""

    unit: UnitFacts
    account: Account
    environment: dict[str, str]
    settings: Chosen


def examine(
    role: str, kind: type[Chosen], arguments: Sequence[str], look: Callable[[Patient[Chosen]], list[Finding]]
) -> int:
    """Run the command: 0 when nothing is broken, 1 when something is, 2 for arguments that cannot be used."""
    program = f"cleave-{role} doctor"
    parser = OneLineParser(
        program,
        "Check everything that an installation can get wrong, and say how to mend it. For root it looks as the "
        "service's user.",
        f"Without --env-file: /etc/cleave/{role}.env where there is one, otherwise the environment of this command.",
    )
    parser.add_argument("--env-file", type=Path, metavar="FILE", help="the service's environment file")
    parser.add_argument("--json", action="store_true", help="print a JSON document")
    chosen = parser.parse_args(list(arguments))
    status = 0

    def work() -> None:
        nonlocal status
        unit = look_at_unit(f"cleave-{role}.service")
        where, environment = _environment(chosen.env_file, Path(f"/etc/cleave/{role}.env"), unit)
        account = account_to_check(unit["User"] or f"cleave-{role}", unit["SupplementaryGroups"].split())
        try:
            settings = kind.load(as_kept(environment, role))
        except ConfigurationError as error:
            findings = [_wrong_setting(line, where) for line in str(error).splitlines()]
        else:
            findings = look(Patient(unit, account, environment, settings))
        status = exit_status(findings)
        if chosen.json:
            print(json.dumps(as_document(findings), indent=1, ensure_ascii=False))
        else:
            width = min(shutil.get_terminal_size((WIDTH, 24)).columns, WIDTH)
            print(report(f"{program}: settings of {where}, as user {account.name}", findings, width), end="")

    return run(program, work) or status


def _environment(given: Path | None, usual: Path, unit: UnitFacts) -> tuple[str, dict[str, str]]:
    """Return where the settings come from, in words, and the environment that the daemon has."""
    file = given or (usual if usual.exists() else None)
    if file is None:
        return "this environment", dict(os.environ)
    return str(file), service_environment(os.environ, unit.environment, read_environment_file(file))


def _wrong_setting(line: str, where: str) -> Finding:
    name = line.partition("=")[0].partition(":")[0]
    return fail(
        "settings",
        line,
        f"correct {name} in {where}; docs/configuration.md has every setting with its values",
    )


def say_progress(what: str) -> None:
    """Say on a terminal what takes its time."""
    if sys.stderr.isatty():
        print(f"{what} …", file=sys.stderr)
