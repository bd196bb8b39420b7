"""The watch: catastrophic overfitting is told from every other misfortune."""

import pytest

from holdfast.training.watch import Collapse, Watch


def judge(robust: list[float], adversary: list[float | None]) -> list[int]:
    """Epochs in which a fresh watch finds a collapse."""
    watch = Watch()
    looks = [watch.look(epoch, r, a) for epoch, (r, a) in enumerate(zip(robust, adversary, strict=True))]
    return [look.epoch for look in looks if look]


def test_finds_the_fall_while_the_adversary_is_beaten() -> None:
    assert judge([0.30, 0.40, 0.02, 0.01], [0.5, 0.55, 0.90, 0.99]) == [2]


def test_finds_a_fall_spread_over_two_epochs() -> None:
    assert judge([0.40, 0.28, 0.15], [0.5, 0.5, 0.5]) == [2]


def test_finds_the_fall_of_what_was_low() -> None:
    assert judge([0.19, 0.00], [0.30, 0.95]) == [1]
    assert judge([0.10, 0.15, 0.02, 0.14, 0.01], [0.3, 0.3, 0.5, 0.3, 0.6]) == [2, 4]


@pytest.mark.parametrize(
    ("robust", "adversary"),
    [
        ([0.19, 0.05], [0.30, 0.31]),  # so little is chance where the adversary is not beaten
        ([0.19, 0.10], [0.30, 0.95]),  # more than half is left
        ([0.09, 0.00], [0.30, 0.95]),  # nothing to speak of was there
        ([0.40, 0.21, 0.20], [0.5, 0.9, 0.95]),  # a fall of 0.2 exactly is none of more than 0.2
        ([0.40, 0.02, 0.01], [0.5, 0.3, 0.1]),  # both fall: a learning rate too great, not overfitting
        ([0.40, 0.02, 0.01], [None, None, None]),  # natural training has no adversary to overfit to
        ([0.10, 0.30, 0.50], [0.2, 0.4, 0.6]),
    ],
)
def test_is_silent_otherwise(robust: list[float], adversary: list[float | None]) -> None:
    assert judge(robust, adversary) == []


def test_tells_once_until_the_run_recovers() -> None:
    assert judge([0.5, 0.1, 0.1, 0.45, 0.1], [0.5, 0.9, 0.9, 0.6, 0.9]) == [1, 4]


def warm(robust: list[float], adversary: list[float], epochs: int) -> list[int]:
    """As `judge`, while eps warms up for the first `epochs`."""
    watch = Watch()
    looks = [watch.look(e, r, a, e < epochs) for e, (r, a) in enumerate(zip(robust, adversary, strict=True))]
    return [look.epoch for look in looks if look]


@pytest.mark.parametrize(
    ("robust", "adversary", "found"),
    [
        ([0.8, 0.55, 0.30, 0.20, 0.25], [0.85, 0.6, 0.4, 0.3, 0.35], []),  # both fall as eps grows
        ([0.8, 0.65, 0.50, 0.45, 0.45], [0.70, 0.7, 0.7, 0.7, 0.75], []),  # a widening gap is no fall
        ([0.8, 0.20, 0.10, 0.05, 0.05], [0.70, 0.9, 0.9, 0.9, 0.95], [1]),
        ([0.8, 0.65, 0.60, 0.30, 0.30], [0.70, 0.7, 0.7, 0.9, 0.95], [3]),  # just after the warm-up
    ],
)
def test_a_warm_up_of_eps_is_compared_from_epoch_to_epoch(
    robust: list[float], adversary: list[float], found: list[int]
) -> None:
    assert warm(robust, adversary, epochs=3) == found


def test_goes_on_from_its_state() -> None:
    first = Watch()
    first.look(0, 0.5, 0.5)
    second = Watch()
    second.load_state_dict(first.state_dict())
    assert second.look(1, 0.1, 0.9) == Collapse(1, 0, 0.1, 0.5, 0.9, 0.5)


def test_says_it_in_plain_words_with_remedies() -> None:
    text = str(Collapse(2, 1, 0.02, 0.40, 0.95, 0.55))
    for part in ("epoch 3", "40.0% (epoch 2) to 2.0%", "from 55.0% to 95.0%", "n_fgsm", "step_size", "pgd_at"):
        assert part in text
