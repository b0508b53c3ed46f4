"""Facts about profiles: saved whole, found again for their key only, measured anew when damaged."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common import profile as profile_module
from common.errors import ConfigurationError
from common.files import DAY_S
from common.profile import MOST_KEPT, Coding, ModelFingerprint, Profile, ProfileKey, ProfileStore

FINGERPRINT = ModelFingerprint("a" * 64, "b" * 64, "c" * 64)
KEY = ProfileKey(FINGERPRINT, "a CPU", "torch", 2, 1.0, "1280x720")
PROFILE = Profile(
    KEY, {"frame": 0.0, "conv": 12.5, "answer": 0.1}, {"conv": (Coding("zstd", 100, 0.5, 0.25),)}, 123_456
)


def test_a_saved_profile_is_found_again(tmp_path: Path) -> None:
    """In a directory that is made for it, the same key finds the same times, to the last bit."""
    store = ProfileStore(tmp_path / "state" / "profiles")
    assert store.load(KEY) is None
    path = store.save(PROFILE)
    assert path.parent == store.directory
    assert store.load(KEY) == PROFILE


@pytest.mark.parametrize(
    "changes",
    [
        {"fingerprint": replace(FINGERPRINT, weights="d" * 64)},
        {"fingerprint": replace(FINGERPRINT, graph="d" * 64)},
        {"fingerprint": replace(FINGERPRINT, architecture="d" * 64)},
        {"device": "another CPU"},
        {"executor": "onnxruntime"},
        {"threads": 1},
        {"slowdown": 8.0},
        {"frame": "640x480"},
    ],
)
def test_another_key_finds_nothing(tmp_path: Path, changes: dict[str, Any]) -> None:
    """Whatever a profile depends on is in its key: each difference means measuring anew, beside the old."""
    store = ProfileStore(tmp_path)
    store.save(PROFILE)
    other = replace(KEY, **changes)
    assert store.load(other) is None
    store.save(replace(PROFILE, key=other))
    assert store.load(KEY) == PROFILE
    assert len(list(tmp_path.iterdir())) == 2


def test_a_file_of_another_key_is_not_taken(tmp_path: Path) -> None:
    """A file copied to another key's name is seen through: the key inside decides."""
    store = ProfileStore(tmp_path)
    other = replace(KEY, device="another CPU")
    store.save(replace(PROFILE, key=other)).rename(store.save(PROFILE))
    assert store.load(KEY) is None


def saved_ago(store: ProfileStore, key: ProfileKey, days: float) -> Path:
    """Save a profile, and have it look as if that had been so long ago."""
    path = store.save(replace(PROFILE, key=key))
    os.utime(path, (0, path.stat().st_mtime - days * DAY_S))
    return path


def test_the_newest_profiles_of_a_model_are_kept(tmp_path: Path) -> None:
    """Of sizes that nobody has named for days only so many; another model's are not touched, nor younger ones."""
    store = ProfileStore(tmp_path)
    other = saved_ago(store, replace(KEY, fingerprint=replace(FINGERPRINT, weights="d" * 64)), 90)
    old = [saved_ago(store, replace(KEY, frame=f"{days}x1"), days) for days in range(MOST_KEPT + 8, 1, -1)]
    young = [saved_ago(store, replace(KEY, frame=f"{size}x2"), 0.5) for size in range(3)]
    scrap = tmp_path / f".{old[0].name}.x1y2z3"
    scrap.touch()
    os.utime(scrap, (0, scrap.stat().st_mtime - 2 * DAY_S))
    newest = store.save(PROFILE)
    assert {*tmp_path.iterdir()} == {other, newest, *young, *old[-(MOST_KEPT - 4) :]}
    assert store.load(KEY) == PROFILE


def test_profiles_are_bounded_however_fast_they_come(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer that names another size with each breath does not fill the disk in a day."""
    monkeypatch.setattr(profile_module, "MOST_EVER", 4)
    monkeypatch.setattr(profile_module, "MOST_KEPT", 2)
    store = ProfileStore(tmp_path)
    paths = [saved_ago(store, replace(KEY, frame=f"{size}x1"), (9 - size) / 100) for size in range(9)]
    assert {*tmp_path.iterdir()} == {*paths[-4:]}


def damaged() -> list[bytes]:
    whole = PROFILE.to_json()
    document = json.loads(whole)

    def changed(**changes: Any) -> bytes:
        return json.dumps({**document, **changes}).encode()

    key = document["key"]
    return [
        b"",
        whole.encode()[:-2],
        b"\xff\xfe",
        b"\0" * 100,
        b"null",
        b"[]",
        b"7",
        b"[" * 100_000,
        changed(format=1),
        changed(format=None),
        changed(key=None),
        changed(key={}),
        changed(key={**key, "surplus": 1}),
        changed(key={**key, "fingerprint": {}}),
        changed(key={**key, "fingerprint": None}),
        changed(unit_ms=None),
        changed(codings=None),
        changed(codings={"conv": {"zstd": [1, 2]}}),
        changed(codings={"conv": {"zstd": [1, 2, -3]}}),
        changed(codings={"conv": {"zstd": [float("inf"), 2, 3]}}),
        changed(codings={"conv": ["zstd"]}),
        changed(unit_ms=[1, 2]),
        changed(unit_ms={"conv": -1}),
        changed(unit_ms={"conv": "fast"}),
        changed(unit_ms={"conv": None}),
        changed(unit_ms={"conv": float("nan")}),
        changed(unit_ms={"conv": float("inf")}),
        changed(unit_ms={"conv": 10**400}),
        json.dumps({"unit_ms": {}}).encode(),
    ]


def test_a_damaged_file_is_told_and_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever wants to know what happened to the disk finds what was there; the next profile has its place."""
    path = ProfileStore(tmp_path).save(PROFILE)
    path.write_bytes(b"\0" * 100)
    assert ProfileStore(tmp_path).load(KEY) is None
    kept = path.with_name(f"{path.name}.damaged")
    assert kept.read_bytes() == b"\0" * 100
    said = capsys.readouterr().out
    assert "a saved profile is of no use" in said
    assert str(kept) in said
    assert not path.exists()


@pytest.mark.parametrize("content", damaged(), ids=lambda content: repr(content[:40]))
def test_a_damaged_file_is_as_good_as_none(tmp_path: Path, content: bytes) -> None:
    """Torn, foreign, older or absurd: the profile is measured anew, and saved over the damage."""
    store = ProfileStore(tmp_path)
    store.save(PROFILE).write_bytes(content)
    assert store.load(KEY) is None
    with pytest.raises(ValueError, match=r"."):
        Profile.from_json(content)
    store.save(PROFILE)
    assert store.load(KEY) == PROFILE


@given(
    st.dictionaries(st.text(max_size=20), st.floats(0, 1e9), max_size=8),
    st.builds(
        ProfileKey,
        fingerprint=st.builds(ModelFingerprint, st.text(), st.text(), st.text()),
        device=st.text(),
        executor=st.text(),
        threads=st.integers(0, 99),
        slowdown=st.floats(1, 1000),
        frame=st.text(),
    ),
)
def test_any_profile_is_written_and_read_unchanged(unit_ms: dict[str, float], key: ProfileKey) -> None:
    """JSON and back is the identity, and equal keys have equal file names."""
    profile = Profile(key, unit_ms)
    assert Profile.from_json(profile.to_json()) == profile
    assert Profile.from_json(profile.to_json()).key.digest == key.digest


@pytest.mark.parametrize("ms", [-0.001, float("nan"), float("inf")])
def test_a_time_that_is_none_is_refused(ms: float) -> None:
    """A measured time is finite and not negative; the unit is named."""
    with pytest.raises(ValueError, match="'conv'"):
        Profile(KEY, {"conv": ms})


def test_a_profile_of_before_is_read_without_its_frames_size() -> None:
    """It was not noted always; a size that is none is refused."""
    document = json.loads(PROFILE.to_json())
    del document["frame_bytes"]
    assert Profile.from_json(json.dumps(document)) == replace(PROFILE, frame_bytes=None)
    for wrong in (0, -1, 1e300, "many", [1]):
        with pytest.raises(ValueError, match=r"profile|int"):
            Profile.from_json(json.dumps({**document, "frame_bytes": wrong}))


def test_the_total_is_the_sum_of_the_units() -> None:
    """What the logs show is what the planner adds up."""
    assert PROFILE.total_ms == pytest.approx(12.6)


def test_a_directory_that_cannot_be_written_is_the_operators_error(tmp_path: Path) -> None:
    """The message names the path and the system's reason."""
    (tmp_path / "state").write_text("a file in the way")
    store = ProfileStore(tmp_path / "state")
    with pytest.raises(ConfigurationError, match=r"cannot save the profile to .*profile-"):
        store.save(PROFILE)
    assert store.load(KEY) is None


def test_differences_are_named() -> None:
    """Two fingerprints say in which parts they differ, and show a part of each digest."""
    other = replace(FINGERPRINT, weights="d" * 64, graph="e" * 64)
    assert FINGERPRINT.differences(other) == ("weights", "graph")
    assert FINGERPRINT.differences(FINGERPRINT) == ()
    for digest in asdict(FINGERPRINT).values():
        assert digest[:12] in str(FINGERPRINT)
