"""Where the time of trainings went, run by run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from holdfast.report.curves import labelled
from holdfast.report.models import Model
from holdfast.results import History


@dataclass(frozen=True)
class Profile:
    """The time of a run's steps as far as its log accounts for it: seconds in all, and each stage's share of them."""

    label: str
    seconds: float
    shares: Mapping[str, float]


def profiles(histories: Mapping[str, History], models: Sequence[Model]) -> tuple[Profile, ...]:
    """The profiles of the runs that logged their stages, each under the label of its model."""
    found = []
    for label, history in labelled(histories, models).items():
        stages = history.stages
        whole = sum(stages.values())
        if whole > 0:
            found.append(Profile(label, whole, {stage: seconds / whole for stage, seconds in stages.items()}))
    return tuple(found)
