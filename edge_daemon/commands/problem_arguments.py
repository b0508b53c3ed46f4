"""The arguments that say what to plan: a problem file, or a model with two profiles."""

from __future__ import annotations

import argparse
from pathlib import Path

from common.errors import ConfigurationError, FrameError, PlanError
from common.graph import ModelGraph
from common.partition.problem import PlanningProblem
from common.partition.problem_file import read_problem, write_problem
from common.profile import Profile
from edge_daemon.commands.command_line import Parser, duration_ms


def add_problem_arguments(parser: Parser) -> None:
    group = parser.add_argument_group("what to plan")
    group.add_argument("--problem", type=Path, metavar="FILE", help="a problem document (JSON)")
    group.add_argument("--model", metavar="NAME", help="a model, with the profiles of both sides")
    group.add_argument("--edge-profile", type=Path, metavar="FILE", help="a saved profile of the edge")
    group.add_argument("--cloud-profile", type=Path, metavar="FILE", help="a saved profile of the cloud")
    group.add_argument(
        "--save-problem", type=Path, metavar="FILE", help="write the problem as a document, for sharing"
    )
    link = parser.add_argument_group("the link")
    link.add_argument("--rtt-ms", type=duration_ms, default=0.0, metavar="MS", help="round trip (default 0)")
    link.add_argument(
        "--answer-ms", type=duration_ms, default=0.0, metavar="MS", help="sending the answer back (default 0)"
    )


def load_problem(parser: Parser, chosen: argparse.Namespace) -> PlanningProblem:
    """Load what the arguments name, and save it if they say so.

    Ends the process with a usage error for arguments that do not fit together. Raises `ConfigurationError`
    for files and models that cannot be used.
    """
    profiles = (chosen.edge_profile, chosen.cloud_profile)
    if chosen.problem is not None:
        if chosen.model is not None or any(profiles):
            parser.error("give either --problem, or --model with its profiles")
        problem = read_problem(chosen.problem)
    elif chosen.model is None:
        parser.error("give --problem FILE, or --model NAME with --edge-profile and --cloud-profile")
    elif None in profiles:
        parser.error("--model needs both --edge-profile and --cloud-profile")
    else:
        problem = _from_profiles(chosen.model, profiles)
    if chosen.save_problem is not None:
        write_problem(chosen.save_problem, problem)
    return problem


def _read_profile(path: Path) -> Profile:
    try:
        return Profile.from_json(path.read_bytes())
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise ConfigurationError(f"{path}: {error}") from error


def _from_profiles(model: str, paths: tuple[Path, Path]) -> PlanningProblem:
    edge, cloud = _read_profile(paths[0]), _read_profile(paths[1])
    for part in edge.key.fingerprint.differences(cloud.key.fingerprint):
        raise ConfigurationError(
            f"{paths[0]} and {paths[1]} are not of one model: the {part} differs "
            f"({edge.key.fingerprint}; {cloud.key.fingerprint})"
        )
    graph = _graph(model, edge.key.frame)
    for path, profile in zip(paths, (edge, cloud), strict=True):
        if profile.key.fingerprint.graph != graph.fingerprint:
            raise ConfigurationError(
                f"{path} is no profile of {model}: its graph is {profile.key.fingerprint.graph[:12]}, "
                f"the model's {graph.fingerprint[:12]}"
            )
    try:
        return PlanningProblem(graph, edge.unit_ms, cloud.unit_ms)
    except PlanError as error:
        raise ConfigurationError(f"the profiles do not fit {model}: {error}") from error


def _graph(name: str, frame: str) -> ModelGraph:
    """Trace the model for frames of the profiled size, `1280x720`. The weights do not matter here."""
    from models.sample_frame import sample_frame  # here: torch takes seconds to import
    from models.zoo import load_model

    model = load_model(name, "random:0")
    try:
        width, height = (int(side) for side in frame.split("x"))
        return model.graph_for(sample_frame(width, height))
    except (ValueError, FrameError) as error:
        raise ConfigurationError(f"the profile's frame {frame!r} is no size such as 1280x720") from error
