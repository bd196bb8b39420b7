"""Protocols: which attacks, in which order, under a name whose meaning is fixed by its version."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from holdfast import userfile
from holdfast.attacks import (
    APGD,
    APGDL1,
    DLR,
    FAB,
    FGSM,
    PGD,
    SPSA,
    Adam,
    Attack,
    Criterion,
    CrossEntropy,
    Margin,
    MultiTargeted,
    Square,
    Steepest,
    TargetedDLR,
)
from holdfast.errors import InvalidInput, unknown
from holdfast.threat import L1, Linf, ThreatModel

_ENTROPY = CrossEntropy()


@dataclass(frozen=True)
class Protocol:
    """A sequence of attacks; each tries what those before it did not break.

    Args:
        name: as results and reports write it.
        version: changes whenever the meaning of the name does, however little.
        attacks: in the order in which they run; the cheap ones first.
    """

    name: str
    version: str
    attacks: tuple[Attack[Any], ...]

    def __post_init__(self) -> None:
        if not self.attacks:
            raise InvalidInput(f"protocol {self.name!r} has no attack; give at least one")
        names = [attack.name for attack in self.attacks]
        if twice := {name for name in names if names.count(name) > 1}:
            raise InvalidInput(
                f"protocol {self.name!r} has several attacks named {min(twice)!r}; verdicts need one each"
            )

    def __str__(self) -> str:
        return f"{self.name}@{self.version}"


def autoattack(threat: ThreatModel) -> Protocol:
    """AutoAttack (Croce and Hein, ICML 2020 and 2021): APGD-CE, targeted APGD, targeted FAB and Square.

    Attacks, their order and their numbers are those of version="standard" in the authors' code as it has been since
    September 2021 (auto-attack a392200; the same in pyautoattack 0.2.0); in L1 that is 5 restarts of APGD-CE and 5
    targets of APGD-T. How each attack differs from theirs is told where it is defined (FAB does most, and has another
    `backward` outside Linf); benchmarks/autoattack_parity.md compares the verdicts. With few classes K the targets are
    the K - 1 others, and with K < 4 the DLR losses take the logits that there are (see `holdfast.losses`), where the
    authors' code stops.
    """
    restarts, targets = (5, 5) if isinstance(threat, L1) else (1, 9)
    ascents = _apgd(threat, restarts=restarts), _apgd(threat, TargetedDLR(), target_classes=targets)
    boundary = FAB(backward=0.9 if isinstance(threat, Linf) else 0.7)
    return Protocol("autoattack", "standard-2021.09", (*ascents, boundary, Square()))


def autoattack_rand(threat: ThreatModel) -> Protocol:
    """AutoAttack for randomised defences, version="rand": APGD on cross-entropy and on DLR, gradients averaged over 20.

    A step takes 20 passes. As in the authors' code one prediction decides whether a candidate counts. In L1 the search
    begins in larger balls as in `autoattack`, which theirs leaves out here.
    """
    return Protocol("rand", "2021.09", (_apgd(threat, passes=20), _apgd(threat, DLR(), passes=20)))


def quick(threat: ThreatModel) -> Protocol:
    """The first two attacks of `autoattack`, which break nearly all that it breaks."""
    return Protocol("quick", "2", autoattack(threat).attacks[:2])


def pgd(threat: ThreatModel) -> Protocol:
    """FGSM, then PGD-20 of 2.5 eps / 20 with 5 restarts on cross-entropy and on the margin."""
    return Protocol("pgd", "1", (FGSM(), *_pgd_pair()))


def cascade(threat: ThreatModel) -> Protocol:
    """The protocol `pgd`, then APGD on cross-entropy and on DLR."""
    return Protocol("cascade", "2", (FGSM(), *_pgd_pair(), _apgd(threat), _apgd(threat, DLR())))


def gradient_free(threat: ThreatModel) -> Protocol:
    """Square, then SPSA: what can be asked of a model that answers with logits alone.

    Square has AutoAttack's 5,000 queries. SPSA takes 100 steps of the 128 samples that DeepMind's code takes; published
    evaluations have up to 8,192 (from memory). An example that stands has cost 17,901 queries. For a model that has
    gradients this is a check on them and not enough by itself: it finds less.
    """
    return Protocol("gradient_free", "1", (Square(), SPSA()))


def llr(threat: ThreatModel) -> Protocol:
    """What LLR was tested with (Qin et al., NeurIPS 2019, arXiv:1907.02610), in Linf: PGD-20, PGD-50, MultiTargeted.

    From the authors' code: 50 steps of Adam at 0.1 on the margin from a uniform start. There the margin is cut off at
    30 below the boundary, which changes no verdict. From memory, not verified: that the paper reports PGD-20 (here of
    2/255 at 8/255) as its weak and MultiTargeted as its strong attack; for the latter see `MultiTargeted`. The
    restarts of the paper's untargeted PGD and its 1,000 steps on ImageNet are left out.
    """
    _check_linf("llr", threat)
    rate = 0.1 / threat.eps
    return Protocol(
        "llr",
        "1",
        (PGD(steps=20), PGD(steps=50, step_size=rate, criterion=Margin(), rule=Adam()), MultiTargeted(step_size=rate)),
    )


def adr(threat: ThreatModel) -> Protocol:
    """What ADR was tested with (Bui et al., ECCV 2020, arXiv:2007.05123), in Linf: PGD-20, MultiTargeted, PGD-200, AA.

    From the authors' codes: PGD-20 of eps / 4 from a uniform start, the same towards each class, PGD-200 of 0.007 at
    eps 0.031 or 0.01 at 0.3, AutoAttack. Deviations: the classes are aimed at by their logit gap instead of their
    cross-entropy, and not the label itself; every attack takes all examples, where theirs give AutoAttack the first
    1,000. Left out: the Brendel-Bethge attack (we have none) and SPSA (its settings were not found).
    """
    _check_linf("adr", threat)
    small = 0.01 / 0.3 if threat.eps >= 0.1 else 0.007 / 0.031
    aimed = MultiTargeted(steps=20, step_size=0.25, rule=Steepest(), drops=())
    return Protocol("adr", "1", (PGD(steps=20), aimed, PGD(steps=200, step_size=small), *autoattack(threat).attacks))


def sprout(threat: ThreatModel) -> Protocol:
    """What SPROUT was tested with (Cheng et al., AAAI 2021, arXiv:2012.11769), in Linf: PGD-20, PGD-500, margin PGD-20.

    From the authors' code: uniform start, steps of 0.007, C&W's margin under the name CW (cut off at 50, which changes
    no verdict). Weak for a model that smooths labels, which gradient attacks misjudge: believe `autoattack`. Its
    "invariance tests" were not found; ours are in `holdfast.diagnostics`.
    """
    _check_linf("sprout", threat)
    step = 0.007 / threat.eps
    return Protocol(
        "sprout",
        "1",
        (PGD(20, step), PGD(20, step, criterion=Margin()), PGD(500, step)),
    )


def _apgd(
    threat: ThreatModel,
    criterion: Criterion = _ENTROPY,
    *,
    restarts: int = 1,
    target_classes: int = 0,
    passes: int = 1,
) -> Attack[Any]:
    """APGD of the kind that suits the norm."""
    kind = APGDL1 if isinstance(threat, L1) else APGD
    return kind(criterion=criterion, target_classes=target_classes, passes=passes, restarts=restarts)


def _pgd_pair() -> tuple[PGD, PGD]:
    entropy = PGD(steps=20, step_size=0.125, restarts=5, early_stop=True)
    margin = PGD(steps=20, step_size=0.125, restarts=5, early_stop=True, criterion=Margin())
    return entropy, margin


def _check_linf(name: str, threat: ThreatModel) -> None:
    if not isinstance(threat, Linf) or threat.eps == 0.0:
        raise InvalidInput(
            f"protocol {name!r} is a paper's, for Linf with eps above 0, and not for {threat}; use autoattack"
        )


PROTOCOLS: dict[str, Callable[[ThreatModel], Protocol]] = {
    "autoattack": autoattack,
    "quick": quick,
    "pgd": pgd,
    "cascade": cascade,
    "rand": autoattack_rand,
    "gradient_free": gradient_free,
    "llr": llr,
    "adr": adr,
    "sprout": sprout,
}


def protocol(name: str, threat: ThreatModel) -> Protocol:
    """The protocol of a name for a threat model.

    Args:
        name: one of `PROTOCOLS`; or PATH.py:FUNCTION, a user's function of the threat model that returns a Protocol,
            or a tuple of attacks. The tuple becomes a protocol of the function's name, whose version is the beginning
            of the file's SHA-256.

    Raises:
        InvalidInput: the name is unknown (the message has the nearest one), or the function returns something else.
    """
    if reference := userfile.parse(name):
        return _of_file(*reference, threat)
    if name not in PROTOCOLS:
        raise unknown("protocol", name, [*PROTOCOLS, "PATH.py:FUNCTION"])
    return PROTOCOLS[name](threat)


def _of_file(path: str, function: str, threat: ThreatModel) -> Protocol:
    suite = userfile.load(path, function)
    made = suite(threat) if callable(suite) else suite
    if isinstance(made, Protocol):
        return made
    if not isinstance(made, tuple) or not all(isinstance(one, Attack) for one in made):
        raise InvalidInput(
            f"{path}:{function} gives {made!r:.200}; it must be a function of the threat model that returns a Protocol "
            "or a tuple of attacks, e.g. (PGD(), Square())"
        )
    digest = hashlib.sha256(Path(path).expanduser().read_bytes()).hexdigest()
    return Protocol(function, digest[:8], made)
