"""Training methods, one file a paper."""

from holdfast.errors import unknown
from holdfast.methods.adr import ADR, ADRTRADES
from holdfast.methods.atlas import ATLAS
from holdfast.methods.awp import AWP
from holdfast.methods.base import Batch, Loss, Method, Progress, Task, Wrapper
from holdfast.methods.cure import CURE
from holdfast.methods.fgsm import FGSMAT
from holdfast.methods.fgsm_rs import FGSMRSAT
from holdfast.methods.free import FreeAT
from holdfast.methods.grad_align import GradAlign
from holdfast.methods.jacobian import JacobianRegularisation
from holdfast.methods.llr import LLR
from holdfast.methods.mart import MART
from holdfast.methods.mma import MMA
from holdfast.methods.n_fgsm import NFGSMAT
from holdfast.methods.natural import Natural
from holdfast.methods.pgd_at import PGDAT
from holdfast.methods.sprout import SPROUT
from holdfast.methods.stability import GlobalComponent, GradientPenalty, LinearisedMargin, LocalComponent, WorstPoint
from holdfast.methods.trades import TRADES
from holdfast.methods.yopo import TRADESYOPO, YOPO

METHODS: dict[str, type[Method]] = {
    "natural": Natural,
    "fgsm": FGSMAT,
    "fgsm_rs": FGSMRSAT,
    "n_fgsm": NFGSMAT,
    "pgd_at": PGDAT,
    "free": FreeAT,
    "yopo": YOPO,
    "trades": TRADES,
    "trades_yopo": TRADESYOPO,
    "mart": MART,
    "mma": MMA,
    "llr": LLR,
    "adr": ADR,
    "adr_trades": ADRTRADES,
    "sprout": SPROUT,
    "atlas": ATLAS,
    "cure": CURE,
    "jacobian": JacobianRegularisation,
    "grad_align": GradAlign,
    "awp": AWP,
}

# Those that hold another method: NAME+awp is AWP around the method NAME.
WRAPPERS: dict[str, type[Wrapper]] = {name: kind for name, kind in METHODS.items() if issubclass(kind, Wrapper)}


def method(name: str) -> Method:
    """The method of a name, with its default hyper-parameters; "trades+awp" is AWP(method=TRADES()).

    Raises:
        InvalidInput: the name is unknown; the message has the nearest one.
    """
    inside, plus, wrapper = name.rpartition("+")
    if not plus:
        if name not in METHODS:
            raise unknown("method", name, METHODS)
        return METHODS[name]()
    if wrapper not in WRAPPERS:
        raise unknown("wrapper", wrapper, WRAPPERS)
    return WRAPPERS[wrapper](method=method(inside))


__all__ = [
    "ADR",
    "ADRTRADES",
    "ATLAS",
    "AWP",
    "CURE",
    "FGSMAT",
    "FGSMRSAT",
    "LLR",
    "MART",
    "METHODS",
    "MMA",
    "NFGSMAT",
    "PGDAT",
    "SPROUT",
    "TRADES",
    "TRADESYOPO",
    "WRAPPERS",
    "YOPO",
    "Batch",
    "FreeAT",
    "GlobalComponent",
    "GradAlign",
    "GradientPenalty",
    "JacobianRegularisation",
    "LinearisedMargin",
    "LocalComponent",
    "Loss",
    "Method",
    "Natural",
    "Progress",
    "Task",
    "WorstPoint",
    "Wrapper",
    "method",
]
