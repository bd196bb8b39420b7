"""Who takes part in a comparison: a method under a label."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from torch import nn

from holdfast.errors import HoldfastError, InvalidInput
from holdfast.methods import Method
from holdfast.models.architecture import Activated
from holdfast.recipe import Recipe
from holdfast.recipe.override import override

_PIECEWISE_LINEAR = (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.RReLU, nn.Hardtanh)


@dataclass(frozen=True)
class Contender:
    """A method under a label.

    Args:
        label: as the page calls it.
        method: with its hyper-parameters.
        share: of the common budget; 2 for a control that may spend twice as much.
        changes: what it changes in the common recipe besides the method, as --set takes it: "precision=float32".
        source: where the method's numbers come from.
    """

    label: str
    method: Method
    share: float = 1.0
    changes: tuple[str, ...] = ()
    source: str = ""

    def __post_init__(self) -> None:
        if not self.slug:
            raise InvalidInput(f"label {self.label!r} has no letter to name a folder by; give it some")
        if self.share <= 0:
            raise InvalidInput(f"{self.label} is given {self.share} of the budget; give more than 0 (1 is the others')")

    def put_into(self, base: Recipe) -> Recipe:
        """The common recipe with this method and these changes.

        Raises:
            InvalidInput: a change that the recipe does not know.
        """
        kept = {path: text for path, text in base.sources.items() if path.partition(".")[0] not in ("method", "epochs")}
        recipe = replace(base, method=self.method, sources={**kept, "method": self.source})
        return override(recipe, self.changes)

    @property
    def slug(self) -> str:
        """The label as a folder's name."""
        return re.sub(r"[^A-Za-z0-9.=_-]+", "-", self.label).strip("-.")


def check_labels(contenders: Sequence[Contender]) -> None:
    """Refuse labels that would share a folder.

    Raises:
        InvalidInput: two of them do, or there are none.
    """
    if not contenders:
        raise InvalidInput("a comparison needs methods, e.g. holdfast compare atlas pgd_at --data digits")
    seen: dict[str, str] = {}
    for contender in contenders:
        # Some file systems do not tell capitals.
        other = seen.setdefault(contender.slug.lower(), contender.label)
        if other != contender.label or [c.label for c in contenders].count(other) > 1:
            raise InvalidInput(f"labels {other!r} and {contender.label!r} are the same folder; write NAME=METHOD,...")


@contextmanager
def tried(contender: Contender) -> Iterator[None]:
    """Around a first step that is taken to see whether it can be: what fails is told with the label.

    Raises:
        InvalidInput: Holdfast refused it.
    """
    told = "nothing was begun"
    try:
        yield
    except HoldfastError as error:
        raise InvalidInput(f"{contender.label} cannot take part: {error}; {told}") from error
    except Exception as error:  # of a user's own method; its traceback helps more than ours
        error.add_note(f"{contender.label} failed in a step that was tried before the comparison; {told}")
        raise


def advice(contender: Contender, recipe: Recipe, network: nn.Module) -> str | None:
    """What a user should know before the contender is trained on a network, in one line; None if there is nothing.

    Activations that a network takes from torch's functions, not from its modules, are not seen.
    """
    found = next((type(m).__name__ for m in network.modules() if isinstance(m, _PIECEWISE_LINEAR)), None)
    if found is None or not contender.method.wants_smooth:
        return None
    remedy = "give it a network with a smooth activation, such as softplus"
    if isinstance(recipe.model, Activated):
        remedy = (
            "write METHOD,model.activation=softplus (from Python changes=('model.activation=softplus',)) for a smooth "
            "network of its own, or --set model.activation=softplus for one that all share"
        )
    return f"{contender.label} learns from how the input gradient bends, and under {found} it hardly does; {remedy}"
