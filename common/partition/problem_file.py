"""Planning problems as files: one JSON document with units, links, source and sink.

    {"units": {"frame": {"edge_ms": 0, "cloud_ms": 0, "output_bytes": 180000}, …},
     "links": [["frame", "decode"], …], "source": "frame", "sink": "top5"}

A document is refused as a whole, with one line that names the culprit.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, NoReturn

from common.errors import ConfigurationError, PlanError
from common.graph import ModelGraph
from common.partition.problem import MOST_OUTPUT_BYTES, MOST_UNIT_MS, PlanningProblem

_DOCUMENT_KEYS = ("units", "links", "source", "sink")
_UNIT_KEYS = ("edge_ms", "cloud_ms", "output_bytes")
_SHOWN = 60
"""Characters of a value that a message shows at most."""


class ProblemFileError(ConfigurationError):
    """A problem file that cannot be read, or that does not describe one."""


def read_problem(path: Path) -> PlanningProblem:
    """Read a problem file. Raises `ProblemFileError`, one line that starts with the path."""
    try:
        text = path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a path with a null character
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise ProblemFileError(f"{path}: {reason}") from error
    try:
        return parse_problem(text)
    except ProblemFileError as error:
        raise ProblemFileError(f"{path}: {error}") from error


def write_problem(path: Path, problem: PlanningProblem) -> None:
    """Write a problem file. Raises `ProblemFileError`, one line that starts with the path."""
    try:
        path.write_text(format_problem(problem), encoding="utf-8")
    except OSError as error:
        raise ProblemFileError(f"{path}: {error.strerror}") from error


def format_problem(problem: PlanningProblem) -> str:
    """Return the document, which `parse_problem` reads back to an equal problem."""
    graph = problem.graph
    units = {
        unit.name: {
            "edge_ms": problem.edge_ms[unit.name],
            "cloud_ms": problem.cloud_ms[unit.name],
            "output_bytes": unit.output_bytes,
        }
        for unit in graph.units
    }
    links = [[name, unit.name] for unit in graph.units for name in dict.fromkeys(unit.inputs)]
    document = {"units": units, "links": links, "source": graph.source, "sink": graph.sink}
    return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def parse_problem(text: str | bytes) -> PlanningProblem:
    """Read a problem document. Raises `ProblemFileError` saying, in one line, what is wrong with it."""
    document = _decode(text)
    _check_keys(document, _DOCUMENT_KEYS, "the document")
    units = document["units"]
    if not isinstance(units, dict):
        raise ProblemFileError(f"units is {_show(units)}, not an object of units by name")
    if not units:
        raise ProblemFileError("units is empty; a problem has at least one unit")
    edge_ms: dict[str, float] = {}
    cloud_ms: dict[str, float] = {}
    sizes: dict[str, int] = {}
    for name, unit in units.items():
        if not name.strip() or not name.isprintable():
            raise ProblemFileError(f"unit name {_show(name)} is empty or not printable")
        where = f"unit {_show(name)}"
        _check_keys(unit, _UNIT_KEYS, where)
        edge_ms[name] = _number(unit["edge_ms"], MOST_UNIT_MS, f"{where}: edge_ms")
        cloud_ms[name] = _number(unit["cloud_ms"], MOST_UNIT_MS, f"{where}: cloud_ms")
        sizes[name] = _whole_number(unit["output_bytes"], MOST_OUTPUT_BYTES, f"{where}: output_bytes")
    links = _links(document["links"], sizes)
    try:
        graph = ModelGraph.from_links(sizes, links)
        problem = PlanningProblem(graph, edge_ms, cloud_ms)
    except PlanError as error:
        raise ProblemFileError(str(error)) from error
    for role, found in (("source", graph.source), ("sink", graph.sink)):
        if document[role] != found:
            raise ProblemFileError(f"{role} is {_show(document[role])}, but the links make it {_show(found)}")
    return problem


def _decode(text: str | bytes) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_object, parse_constant=_no_constant)
    except ProblemFileError:
        raise
    except RecursionError:
        raise ProblemFileError("not a problem document: nested too deeply") from None
    except ValueError as error:  # JSONDecodeError, UnicodeDecodeError, a number of 5,000 digits
        raise ProblemFileError(f"not JSON: {error}") from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:  # json itself keeps the last one silently
            raise ProblemFileError(f"key {_show(key)} appears twice in one object")
        found[key] = value
    return found


def _no_constant(name: str) -> NoReturn:
    raise ProblemFileError(f"{name} is no number of JSON")


def _check_keys(value: object, keys: tuple[str, ...], where: str) -> None:
    if not isinstance(value, dict):
        raise ProblemFileError(f"{where} is {_show(value)}, not an object with {', '.join(keys)}")
    for key in keys:
        if key not in value:
            raise ProblemFileError(f"{where} has no {key}")
    for key in value:
        if key not in keys:
            raise ProblemFileError(f"{where} has an unknown key {_show(key)}; known: {', '.join(keys)}")


def _number(value: object, most: float, where: str) -> float:
    # bool is a subclass of int, and true is no time
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ProblemFileError(f"{where} is {_show(value)}, not a number")
    if not 0 <= value <= most or not math.isfinite(value):
        raise ProblemFileError(f"{where} is {_show(value)}, not a number from 0 to {most:g}")
    return float(value)


def _whole_number(value: object, most: int, where: str) -> int:
    number = _number(value, most, where)
    if not number.is_integer():
        raise ProblemFileError(f"{where} is {_show(value)}, not a whole number")
    return int(number)


def _links(value: object, units: dict[str, int]) -> list[tuple[str, str]]:
    if not isinstance(value, list):
        raise ProblemFileError(f"links is {_show(value)}, not a list of [producer, consumer]")
    found: dict[tuple[str, str], None] = {}
    for link in value:
        if not (isinstance(link, list) and len(link) == 2 and all(isinstance(name, str) for name in link)):
            raise ProblemFileError(f"link {_show(link)} is not [producer, consumer], two names")
        for name in link:
            if name not in units:
                raise ProblemFileError(f"link {_show(link)}: {_show(name)} is no unit")
        if link[0] == link[1]:
            raise ProblemFileError(f"link {_show(link)} leads from a unit to itself")
        if (link[0], link[1]) in found:
            raise ProblemFileError(f"link {_show(link)} is listed twice")
        found[link[0], link[1]] = None
    return list(found)


def _show(value: object) -> str:
    """Show a value of the file in one line of printable characters, shortened."""
    text = repr(value) if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
