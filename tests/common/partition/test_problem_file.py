import json
import random
from pathlib import Path

import pytest

from common.partition.problem_file import (
    ProblemFileError,
    format_problem,
    parse_problem,
    read_problem,
    write_problem,
)
from tests.common.partition.malformed_problems import MALFORMED, VALID
from tests.graphs import inception_problem, random_problem


def test_a_problem_survives_being_written_and_read(tmp_path: Path) -> None:
    """What is read back has the same graph, times and sizes, to the last bit."""
    rng = random.Random(4)
    for problem in [inception_problem(rng, 3), *(random_problem(rng) for _ in range(50))]:
        write_problem(tmp_path / "problem.json", problem)
        again = read_problem(tmp_path / "problem.json")
        assert {u.name: (set(u.inputs), u.output_bytes) for u in again.graph.units} == {
            u.name: (set(u.inputs), u.output_bytes) for u in problem.graph.units
        }
        assert again.edge_ms == problem.edge_ms
        assert again.cloud_ms == problem.cloud_ms


def test_the_document_has_the_documented_form() -> None:
    """Units by name, links as pairs, source and sink: and nothing else."""
    document = json.loads(format_problem(parse_problem(json.dumps(VALID))))
    assert document == VALID


def test_whole_numbers_may_be_written_as_floats() -> None:
    """1e5 is a size; other programs write sizes so."""
    text = json.dumps(VALID).replace('"output_bytes": 1000', '"output_bytes": 1e3')
    assert parse_problem(text).graph[VALID["source"]].output_bytes == 1000


@pytest.mark.parametrize(("text", "culprit"), MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_document_is_refused_in_one_line(text: str | bytes, culprit: str) -> None:
    """Each kind of mistake is one error of one short line that names the culprit."""
    with pytest.raises(ProblemFileError) as caught:
        parse_problem(text)
    assert culprit in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("path", ["no/such/file", "/", "nul\0"])
def test_a_file_that_cannot_be_read_is_named(path: str) -> None:
    """A missing file, a directory and an impossible name are errors that show the path."""
    with pytest.raises(ProblemFileError, match="^" + path.rstrip("\0")):
        read_problem(Path(path))


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """A directory that does not exist is an error that shows the path."""
    with pytest.raises(ProblemFileError, match="missing"):
        write_problem(tmp_path / "missing" / "file.json", parse_problem(json.dumps(VALID)))
