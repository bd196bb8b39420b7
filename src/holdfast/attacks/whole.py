"""Attacks that are made in one go, because their iterations are not ours to take one by one."""

from abc import abstractmethod
from dataclasses import dataclass, replace

from holdfast.attacks.base import Attack, State, opening
from holdfast.noise import Noise
from holdfast.threat import ThreatModel
from holdfast.typing import Classifier, Images, Labels


@dataclass(frozen=True)
class Whole(Attack[State]):
    """A search of one step, whose candidates nobody has shown to the model yet."""

    @property
    def budget(self) -> int:
        return 1

    @property
    def hands_over_unseen(self) -> bool:
        return True

    def start(self, threat: ThreatModel, x: Images, y: Labels, noise: Noise, target: Labels | None = None) -> State:
        return opening(x, y, noise, target, x)

    def step(self, threat: ThreatModel, model: Classifier, state: State) -> State:
        x_adv = self.search(threat, model, state).detach()
        return replace(state, point=x_adv, x_adv=x_adv, iteration=state.iteration + 1)

    @abstractmethod
    def search(self, threat: ThreatModel, model: Classifier, state: State) -> Images:
        """A candidate for each row, in S(x)."""
