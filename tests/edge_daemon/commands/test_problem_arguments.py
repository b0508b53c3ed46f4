import json
from dataclasses import replace
from pathlib import Path

import pytest

from common.partition.problem_file import read_problem
from common.profile import Profile, ProfileKey
from edge_daemon.commands import plan
from models.model import Model
from models.sample_frame import sample_frame
from models.zoo import load_model

MODEL = "tests.edge_daemon.commands.small_network:build"


@pytest.fixture(scope="module")
def model() -> Model:
    return load_model(MODEL, "random:0")


def save_profile(path: Path, model: Model, unit_ms: float, frame: str = "320x240", graph: str = "") -> Path:
    fingerprint = replace(model.fingerprint, graph=graph or model.fingerprint.graph)
    key = ProfileKey(fingerprint, "a device", "torch", 1, 1.0, frame)
    times = {name: 0.0 if name == model.graph.source else unit_ms for name in model.graph.names}
    path.write_text(Profile(key, times).to_json())
    return path


def plan_model(edge: Path, cloud: Path, *more: str | Path) -> int:
    arguments = [
        "--model",
        MODEL,
        "--edge-profile",
        edge,
        "--cloud-profile",
        cloud,
        "--bandwidth",
        "100mbit",
        *more,
    ]
    return plan.main([str(argument) for argument in arguments])


def test_a_model_is_planned_from_its_profiles(
    model: Model, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Times come from the profiles, sizes from the model and the profiled frame's size."""
    edge = save_profile(tmp_path / "edge.json", model, 50.0)
    cloud = save_profile(tmp_path / "cloud.json", model, 1.0)
    assert plan_model(edge, cloud, "--json", "--save-problem", tmp_path / "problem.json") == 0
    document = json.loads(capfd.readouterr().out)
    assert document["crossing"] == ["frame"]
    assert document["cloud_ms"] == pytest.approx(len(model.graph) - 1)
    problem = read_problem(tmp_path / "problem.json")
    assert problem.graph.fingerprint == model.graph.fingerprint
    assert problem.graph["frame"].output_bytes == len(sample_frame(320, 240))
    assert problem.graph["decode"].output_bytes == 320 * 240 * 3


@pytest.mark.parametrize(
    ("changed", "culprit"),
    [
        ({"graph": "0" * 64}, "are not of one model: the graph differs"),
        ({"frame": "large"}, "'large' is no size"),
    ],
)
def test_profiles_that_do_not_fit_are_one_line_and_status_2(
    changed: dict[str, str], culprit: str, model: Model, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A profile of another graph or of no frame's size is refused with the reason."""
    edge = save_profile(tmp_path / "edge.json", model, 50.0, **changed)
    cloud = save_profile(tmp_path / "cloud.json", model, 1.0)
    assert plan_model(edge, cloud) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert culprit in err


def test_profiles_of_another_model_are_refused(
    model: Model, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Both profiles agree with each other, but not with the model that was named."""
    edge = save_profile(tmp_path / "edge.json", model, 50.0, graph="0" * 64)
    cloud = save_profile(tmp_path / "cloud.json", model, 1.0, graph="0" * 64)
    assert plan_model(edge, cloud) == 2
    assert "edge.json is no profile of" in capfd.readouterr().err


def test_what_is_no_profile_is_named(model: Model, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A file that holds something else, and a file that is not there."""
    cloud = save_profile(tmp_path / "cloud.json", model, 1.0)
    (tmp_path / "other.json").write_text("{}")
    for path in (tmp_path / "other.json", tmp_path / "missing.json"):
        assert plan_model(path, cloud) == 2
        err = capfd.readouterr().err
        assert str(path) in err
        assert err.count("\n") == 1
