import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from common.partition.problem import PlanningProblem
from common.partition.problem_file import read_problem, write_problem
from common.partition.solve import solve
from edge_daemon.commands import plan
from tests.common.partition.malformed_problems import MALFORMED, VALID
from tests.graphs import closure_problem, inception_problem, off_hull_problem, wide_problem

KEYS = [
    *("mode", "edge_units", "crossing", "edge_ms", "link_ms", "cloud_ms", "latency_ms", "bottleneck_ms"),
    *("lower_bound_ms", "optimal", "sustainable_fps", "solver", "solve_ms"),
]


@pytest.fixture
def valid(tmp_path: Path) -> Path:
    path = tmp_path / "problem.json"
    path.write_text(json.dumps(VALID))
    return path


def run_plan(*arguments: str | Path) -> int:
    try:
        return plan.main([str(argument) for argument in arguments])
    except SystemExit as ended:  # argparse's way
        return int(ended.code or 0)


def planned(capfd: pytest.CaptureFixture[str], *arguments: str | Path) -> dict[str, Any]:
    assert run_plan(*arguments, "--json") == 0
    out, err = capfd.readouterr()
    assert err == ""
    document = json.loads(out)
    assert isinstance(document, dict)
    return document


def save(path: Path, problem: PlanningProblem) -> Path:
    write_problem(path, problem)
    return path


def test_the_json_has_exactly_the_documented_keys(valid: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Every key of the plan, no other, with the values of the definition: 1 ms of link, 1.5 ms of cloud."""
    document = planned(capfd, "--problem", valid, "--bandwidth", "8mbit", "--rtt-ms", "5", "--answer-ms", "1")
    assert list(document) == KEYS
    assert document["mode"] == "light"
    assert document["edge_units"] == ["frame"]
    assert document["crossing"] == ["frame"]
    assert (document["edge_ms"], document["link_ms"], document["cloud_ms"]) == (0.0, 1.0, 1.5)
    assert document["latency_ms"] == document["lower_bound_ms"] == 8.5
    assert document["bottleneck_ms"] == 1.5
    assert document["optimal"] is True
    assert document["sustainable_fps"] == pytest.approx(1000 / 1.5)
    assert document["solver"] == "frontier"


@pytest.mark.parametrize(
    ("load", "mode"),
    [
        ([], "light"),
        (["--fps", "50"], "light"),
        (["--fps", "120"], "heavy"),
        (["--fps", "1000"], "overloaded"),
        (["--drain"], "drain"),
    ],
)
@pytest.mark.parametrize("solver", ["auto", "frontier", "milp"])
def test_the_load_decides_the_mode(
    load: list[str], mode: str, solver: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Edge-only is fastest at 10 ms and keeps 100 frames/s; only the cut in the middle keeps 166."""
    problem = off_hull_problem()
    edge_ms = dict(problem.edge_ms) | {"d": 3.0}  # (0, 10, 0), (6, 6, 0), (9, 0, 0)
    path = save(tmp_path / "p.json", PlanningProblem(problem.graph, edge_ms, problem.cloud_ms))
    document = planned(capfd, "--problem", path, "--bandwidth", "1kB/s", *load, "--solver", solver)
    assert document["mode"] == mode
    assert document["bottleneck_ms"] == pytest.approx(9.0 if mode == "light" else 6.0)
    assert document["optimal"]


def test_lists_are_sorted(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Names come in the order of the alphabet, whatever the graph's."""
    path = save(tmp_path / "p.json", inception_problem(random.Random(7), 17))
    document = planned(capfd, "--problem", path, "--bandwidth", "8mbit", "--drain")
    assert document["edge_units"] == sorted(document["edge_units"])
    assert document["crossing"] == sorted(document["crossing"])
    assert len(document["crossing"]) > 1


def test_what_is_infinite_is_null(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A pipeline without any cost sustains any rate, for which JSON has no number."""
    path = tmp_path / "free.json"
    path.write_text(
        '{"units": {"a": {"edge_ms": 0, "cloud_ms": 0, "output_bytes": 0}}, "links": [], '
        '"source": "a", "sink": "a"}'
    )
    document = planned(capfd, "--problem", path, "--bandwidth", "0")
    assert document["sustainable_fps"] is None
    assert document["latency_ms"] == 0.0


def test_without_json_the_plan_is_told_in_words(valid: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Mode, cut, times, proof, and both ends for comparison."""
    assert run_plan("--problem", valid, "--bandwidth", "8mbit") == 0
    out = capfd.readouterr().out
    assert "cloud-only: 1 units on the edge, 2 in the cloud" in out
    assert "frame (1,000 bytes)" in out
    assert "optimal: no legal cut has a latency below 2.500 ms" in out
    assert "edge-only   15.500 ms" in out


def test_nothing_but_the_plan_reaches_standard_output(
    valid: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What native code writes to descriptor 1 while it solves, as HiGHS does, is not in the output."""

    def noisy(*args: Any, **options: Any) -> Any:
        os.write(1, b"HighsMipSolverData::transformNewIntegerFeasibleSolution tmpSolver.run();\n")
        print("and Python")
        return solve(*args, **options)

    monkeypatch.setattr(plan, "solve", noisy)
    assert run_plan("--problem", valid, "--bandwidth", "8mbit", "--json") == 0
    assert json.loads(capfd.readouterr().out)["mode"] == "light"


def test_what_native_code_has_buffered_is_not_printed_later() -> None:
    """C's own buffer is emptied before the descriptor is put back: into a pipe it prints late."""
    script = (
        "import ctypes\n"
        "from edge_daemon.commands.command_line import unprinted\n"
        "with unprinted():\n"
        "    ctypes.CDLL(None).printf(b'noise\\n')\n"
        "print('plan')\n"
    )
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    ended = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, env=buffered
    )
    assert (ended.stdout, ended.returncode) == ("plan\n", 0)


@pytest.mark.parametrize("kind", MALFORMED)
def test_a_malformed_problem_is_one_line_and_status_2(
    kind: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Each of some fifty kinds of broken file is said in one line on stderr; no traceback, no output."""
    text, culprit = MALFORMED[kind]
    path = tmp_path / "broken.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    assert run_plan("--problem", path, "--bandwidth", "8mbit", "--json") == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith("cleave-edge plan: ")
    assert str(path) in err
    assert err.count("\n") == 1
    assert culprit in err


@pytest.mark.parametrize(
    ("arguments", "culprit"),
    [
        ([], "--bandwidth"),
        (["--bandwidth", "8mbit"], "--problem"),
        (["--problem", "VALID", "--bandwidth", "8mbps"], "8mbps"),
        (["--problem", "VALID", "--bandwidth", "-8mbit"], "--bandwidth"),
        (["--problem", "VALID", "--bandwidth", "9" * 305 + "gbit"], "too large"),
        (["--problem", "VALID", "--bandwidth", "8mbit", "--rtt-ms", "-1"], "--rtt-ms"),
        (["--problem", "VALID", "--bandwidth", "8mbit", "--rtt-ms", "nan"], "--rtt-ms"),
        (["--problem", "VALID", "--bandwidth", "8mbit", "--answer-ms", "inf"], "--answer-ms"),
        (["--problem", "VALID", "--bandwidth", "8mbit", "--fps", "0"], "--fps"),
        (["--problem", "VALID", "--bandwidth", "8mbit", "--fps", "5", "--drain"], "--drain"),
        (["--problem", "VALID", "--bandwidth", "8mbit", "--solver", "magic"], "magic"),
        (["--problem", "VALID", "--bandwidth", "8mbit", "--drain", "--solver", "mincut"], "latency only"),
        (["--problem", "VALID", "--bandwidth", "8mbit", "--time-limit-s", "0"], "--time-limit-s"),
        (["--problem", "VALID", "--bandwidth", "8mbit", "--jsn"], "--jsn"),
        (["--problem", "VALID", "--bandwidth", "8mbit", "--js"], "--js"),
        (["--problem", "no/such.json", "--bandwidth", "8mbit"], "no/such.json"),
        (["--problem", "VALID", "--model", "alexnet", "--bandwidth", "8mbit"], "either"),
        (["--model", "alexnet", "--bandwidth", "8mbit"], "--edge-profile"),
        (["--problem", "VALID", "--bandwidth", "8mbit", "--save-problem", "no/such/dir.json"], "no/such"),
    ],
)
def test_wrong_arguments_are_one_line_and_status_2(
    arguments: list[str], culprit: str, valid: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Each mistake is said in one line on stderr that names it."""
    assert run_plan(*(str(valid) if text == "VALID" else text for text in arguments)) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert culprit in err


def test_a_graph_too_wide_for_the_frontier(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The frontier says that it cannot; left to itself the planner takes the minimum cut."""
    path = save(tmp_path / "wide.json", wide_problem(random.Random(1), 120))
    assert run_plan("--problem", path, "--bandwidth", "8mbit", "--solver", "frontier") == 2
    assert "more than 50000 closed sets" in capfd.readouterr().err
    assert planned(capfd, "--problem", path, "--bandwidth", "8mbit")["solver"] == "mincut"


def test_the_problem_is_saved_for_sharing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The saved document gives the same problem."""
    path = save(tmp_path / "p.json", closure_problem())
    planned(capfd, "--problem", path, "--bandwidth", "8mbit", "--save-problem", tmp_path / "q.json")
    assert read_problem(tmp_path / "q.json").edge_ms == closure_problem().edge_ms


def test_a_small_problem_needs_neither_torch_nor_scipy(valid: Path) -> None:
    """As a process, `plan` loads nothing that takes long: no torch, no scipy, no daemon, no settings."""
    script = (
        "import sys\n"
        f"sys.argv = ['cleave-edge', 'plan', '--problem', {str(valid)!r}, '--bandwidth', '8mbit', '--json']\n"
        "from edge_daemon.__main__ import main\n"
        "status = main()\n"
        "heavy = {'torch', 'scipy', 'pydantic', 'asyncio', 'structlog'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "sys.exit(status)\n"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert (ended.stderr, ended.returncode) == ("", 0)
    assert json.loads(ended.stdout)["mode"] == "light"
