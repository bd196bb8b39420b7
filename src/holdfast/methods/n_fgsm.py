"""N-FGSM: noise, then FGSM, without clipping to the ball (de Jorge et al., NeurIPS 2022, arXiv:2202.01181; 0a9e4f0)."""

from dataclasses import dataclass

from holdfast.attacks import NFGSM, PGD
from holdfast.methods.pgd_at import PGDAT


@dataclass(frozen=True)
class NFGSMAT(PGDAT):
    """Adversarial training with uniform noise of 2 eps and a step of eps; 2 passes. Resists catastrophic
    overfitting."""

    inner: PGD = NFGSM()
