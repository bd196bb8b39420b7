"""The one-step attacks: PGD with a single step, and their names."""

from dataclasses import dataclass

from holdfast.attacks.initial import Initial, Uniform, Zero
from holdfast.attacks.pgd import PGD
from holdfast.threat import ThreatModel
from holdfast.typing import Images


@dataclass(frozen=True)
class FGSM(PGD):
    """Fast gradient sign method (Goodfellow et al., ICLR 2015, arXiv:1412.6572): one full step from the clean input.

    In other norms than Linf the step goes along the steepest direction of that norm.
    """

    steps: int = 1
    step_size: float = 1.0
    initial: Initial = Zero()

    @property
    def name(self) -> str:
        return "fgsm"


@dataclass(frozen=True)
class FGSMRS(PGD):
    """FGSM from a random start (Wong et al., ICLR 2020, arXiv:2001.03994, fast_adversarial 54f7287).

    A uniform start in the whole ball, one step of 1.25 eps, projection.
    """

    steps: int = 1
    step_size: float = 1.25
    initial: Initial = Uniform()

    @property
    def name(self) -> str:
        return "fgsm-rs"


@dataclass(frozen=True)
class NFGSM(PGD):
    """Noise and FGSM (de Jorge et al., NeurIPS 2022, arXiv:2202.01181, N-FGSM 0a9e4f0).

    A uniform start in a ball of twice eps and one step of eps, clipped to the box but not to the ball: the result may
    lie up to three eps away, so it trains a model and never evaluates one. Deviation: in Linf the noise is no wider
    than the box, so that above eps 0.5 on images in [0, 1] fewer points end on the box than in the paper.
    """

    steps: int = 1
    step_size: float = 1.0
    initial: Initial = Uniform(2.0)

    @property
    def name(self) -> str:
        return "n-fgsm"

    def constrain(self, threat: ThreatModel, x: Images, moved: Images) -> Images:
        return moved.clamp(threat.low, threat.high)
