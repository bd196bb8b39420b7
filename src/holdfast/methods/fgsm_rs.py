"""One-step ADV: FGSM from a random start (Wong, Rice and Kolter, ICLR 2020, arXiv:2001.03994; fast_adversarial
54f7287)."""

from dataclasses import dataclass

from holdfast.attacks import FGSMRS, PGD
from holdfast.methods.pgd_at import PGDAT


@dataclass(frozen=True)
class FGSMRSAT(PGDAT):
    """Adversarial training with a uniform start and one step of 1.25 eps; 2 passes.

    The MNIST script of the reference does not clip to the box before the first gradient; here the start is always in
    it.
    """

    inner: PGD = FGSMRS()
