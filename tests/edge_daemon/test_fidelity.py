"""Facts about which lossy cuts may be used."""

from __future__ import annotations

import pytest

from common.plan import Cut
from common.wire.codecs import Loss
from edge_daemon.fidelity import (
    MOST_REFUSED,
    REFUSED_S,
    Comparison,
    Fidelity,
    Setting,
    allowed_losses,
    compare,
    losses_of,
)
from tests.tiny_model import tiny_model

GRAPH = tiny_model().graph
SAME, OTHER = Comparison(True, 0.01), Comparison(False, 0.4)


def cut(units: int, codec: str) -> Cut:
    names = GRAPH.names[:units]
    return Cut.of(GRAPH, names, {GRAPH.crossing(frozenset(names))[-1]: codec})


INT8, F16, JPEG = cut(5, "int8-zstd"), cut(5, "f16"), cut(3, "jpeg75")
LOSSLESS, RAW = cut(5, "zstd"), Cut.of(GRAPH, GRAPH.names[:5])


@pytest.mark.parametrize(
    ("setting", "losses"),
    [
        ("off", set()),
        ("f16", {Loss.F16}),
        ("int8", {Loss.F16, Loss.INT8}),
        ("image", {Loss.IMAGE}),
        ("auto", {Loss.F16, Loss.INT8, Loss.IMAGE}),
    ],
)
def test_the_setting_says_what_may_be_lost(setting: Setting, losses: set[Loss]) -> None:
    """int8 allows half precision, too; nothing allows more than it says."""
    assert allowed_losses(setting) == losses


def test_what_loses_nothing_needs_no_certificate() -> None:
    """Raw and packed tensors may be used at once; lossy ones not before they are certified."""
    fidelity = Fidelity(allowed_losses("auto"), 0.99)
    for free in (RAW, LOSSLESS):
        assert losses_of(free) == frozenset()
        assert fidelity.may_use(free)
        assert not fidelity.worth_trying(free)
    for lossy in (INT8, F16, JPEG):
        assert not fidelity.may_use(lossy)
        assert fidelity.worth_trying(lossy)


def test_a_cut_is_certified_after_all_its_frames_and_refused_as_soon_as_it_is_lost() -> None:
    """With 0.9 of ten frames, one may differ and the second ends it."""
    fidelity = Fidelity(allowed_losses("auto"), 0.9)
    for count in range(1, 10):
        assert fidelity.verdict(INT8, [OTHER] + [SAME] * (count - 1), 10) is None
    assert fidelity.verdict(INT8, [OTHER] + [SAME] * 9, 10) is True
    assert fidelity.may_use(INT8)
    assert fidelity.verdict(F16, [OTHER, SAME, OTHER], 10) is False
    assert not fidelity.may_use(F16)
    assert not fidelity.worth_trying(F16)
    known = {lossy.label: (usable, round(c.agreement, 2)) for lossy, c, usable in fidelity}
    assert known == {INT8.label: (True, 0.9), F16.label: (False, 0.33)}


def test_a_certificate_ends_when_answers_agree_no_longer() -> None:
    """Later comparisons count beside the first ones; when they are fewer than chance explains it is refused."""
    fidelity = Fidelity(allowed_losses("auto"), 0.9)
    assert fidelity.verdict(INT8, [SAME] * 10, 10) is True
    for _ in range(3):
        assert (
            fidelity.recheck(INT8, OTHER) is True
        )  # 10 of 13: one in seven that agree in 0.9 would show that
    assert fidelity.recheck(INT8, OTHER) is False  # 10 of 14: one in 23
    assert not fidelity.may_use(INT8)
    assert not fidelity.worth_trying(INT8)
    assert fidelity.recheck(INT8, SAME) is False, "what is refused stays so"


def test_a_cut_that_agrees_often_enough_keeps_its_certificate() -> None:
    """One frame in 1000 differs, where one in 100 may: not even the first, right after 32 that agree, ends it."""
    fidelity = Fidelity(allowed_losses("auto"), 0.99)
    assert fidelity.verdict(INT8, [SAME] * 32, 32) is True
    for number in range(10_000):
        assert fidelity.recheck(INT8, OTHER if number % 1000 == 0 else SAME)
    different = next(count for count in range(1000) if not fidelity.recheck(INT8, OTHER))
    assert different < 10, "and one that has come to differ loses it soon"


def test_with_an_agreement_of_one_the_first_difference_ends_a_certificate() -> None:
    """Chance explains none."""
    fidelity = Fidelity(allowed_losses("auto"), 1.0)
    assert fidelity.verdict(INT8, [SAME] * 32, 32) is True
    assert fidelity.recheck(INT8, SAME)
    assert not fidelity.recheck(INT8, OTHER)


def test_what_was_refused_may_be_tried_again_after_an_hour() -> None:
    """A night's frames say nothing of the day's; its loss is given up no longer than that, either."""
    now = 0.0
    fidelity = Fidelity(allowed_losses("auto"), 0.99, lambda: now)
    failing = [cut(units, "int8") for units in range(4, 4 + MOST_REFUSED)]
    for lossy in failing:
        assert fidelity.verdict(lossy, [OTHER], 32) is False
    now = REFUSED_S - 1.0
    assert fidelity.given_up == {Loss.INT8}
    now = REFUSED_S
    assert fidelity.given_up == frozenset()
    assert fidelity.refused == ()
    assert fidelity.worth_trying(failing[0])
    assert fidelity.verdict(failing[0], [SAME] * 32, 32) is True
    assert [lossy for lossy, _, usable in fidelity if usable] == [failing[0]]


def test_a_loss_is_given_up_after_enough_refusals() -> None:
    """When cut after cut fails for what int8 loses, no further one is tried; other losses still are."""
    fidelity = Fidelity(allowed_losses("auto"), 0.99)
    failing = [cut(units, "int8") for units in range(4, 4 + MOST_REFUSED)]
    for lossy in failing:
        assert fidelity.worth_trying(cut(7, "int8-zstd"))
        assert fidelity.verdict(lossy, [OTHER], 32) is False
    assert fidelity.given_up == {Loss.INT8}
    assert not fidelity.worth_trying(cut(7, "int8-zstd"))
    assert fidelity.worth_trying(JPEG)
    assert set(fidelity.refused) == set(failing)


def test_answers_are_compared_by_their_first_class_and_by_probabilities() -> None:
    """A class that is in one answer only has at most the other's least probability."""
    reference = [[3.0, 0.7], [5.0, 0.2], [1.0, 0.05]]
    assert compare(reference, reference) == Comparison(True, 0.0)
    near = compare(reference, [[3.0, 0.6], [5.0, 0.25], [1.0, 0.1]])
    assert near.same
    assert near.change == pytest.approx(0.1)
    far = compare(reference, [[5.0, 0.5], [2.0, 0.3], [3.0, 0.1]])
    assert not far.same
    assert far.change == pytest.approx(0.6)
