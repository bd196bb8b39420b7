"""Transfer: adversaries found on a surrogate model, tried on the victim (Papernot et al. 2016, arXiv:1605.07277)."""

from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from holdfast import modes
from holdfast.attacks.base import Attack, State, run
from holdfast.attacks.whole import Whole
from holdfast.errors import InvalidInput
from holdfast.provenance import fingerprint
from holdfast.threat import ThreatModel
from holdfast.typing import Classifier, Images


@dataclass(frozen=True)
class Transfer(Whole):
    """Runs an attack on a surrogate and hands over its result; the victim is asked once a search, by its judge.

    So it works on victims without gradients, and where it breaks a victim that attacks on its own gradients do not, the
    victim hides them. An attack that goes on after it has fooled the surrogate transfers better than one that stops
    there: leave out `early_stop`. Targeted attacks aim at the victim's own runner-up classes.

    Args:
        attack: what runs on the surrogate, one search; restarts are given to Transfer.
        surrogate: inputs to logits, of the victim's classes; a module is put in eval mode while it is searched, and is
            moved to the inputs' device.
        label: the surrogate's name in tables; needed where the surrogate is no module.

    Attributes:
        weights: fingerprint of the surrogate's weights at construction, for the record; "" if it is no module.

    Raises:
        InvalidInput: the surrogate cannot be identified, or the attack has restarts of its own.
    """

    attack: Attack[Any]
    surrogate: Classifier = field(repr=False, compare=False)
    label: str = ""
    weights: str = field(init=False, default="")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.attack.restarts > 1:
            raise InvalidInput(
                f"the attack {self.attack.name} has {self.attack.restarts} restarts; give them to Transfer "
                f"(restarts={self.attack.restarts}), so that each of their results is tried on the victim"
            )
        if isinstance(self.surrogate, nn.Module):
            object.__setattr__(self, "weights", fingerprint(self.surrogate)[:16])
        elif not self.label:
            raise InvalidInput("the surrogate is no torch module, so its weights cannot identify it; give it a label")

    @property
    def name(self) -> str:
        repeats = f"x{self.restarts}" if self.restarts > 1 else ""
        return f"transfer-{self.label or self.weights[:8]}-{self.attack.name}{repeats}"

    @property
    def targets(self) -> int:
        return self.attack.targets

    @property
    def gradient_free(self) -> bool:
        return True

    @property
    def passes(self) -> int:
        return 0

    def search(self, threat: ThreatModel, model: Classifier, state: State) -> Images:
        target = state.target if self.targets else None
        module = self.surrogate if isinstance(self.surrogate, nn.Module) else None
        if module is not None:
            module.to(state.x.device)
        with nullcontext() if module is None else modes.inference(module):
            found: State = run(self.attack, threat, self.surrogate, state.x, state.y, state.noise, target)
        return found.x_adv
