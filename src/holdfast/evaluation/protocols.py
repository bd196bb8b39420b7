"""Protocols: which attacks, in which order, under a name whose meaning is fixed by its version."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from holdfast.attacks import APGD, DLR, FGSM, PGD, Attack, Margin, TargetedDLR
from holdfast.errors import InvalidInput, unknown
from holdfast.threat import ThreatModel


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


def quick(threat: ThreatModel) -> Protocol:
    """APGD on cross-entropy, then APGD on the targeted DLR loss with 9 targets: AutoAttack's two gradient ascents."""
    targeted = APGD(criterion=TargetedDLR(), target_classes=9)
    return Protocol("quick", "1", (APGD(), targeted))


def pgd(threat: ThreatModel) -> Protocol:
    """FGSM, then PGD-20 of 2.5 eps / 20 with 5 restarts on cross-entropy and on the margin."""
    return Protocol("pgd", "1", (FGSM(), *_pgd_pair()))


def cascade(threat: ThreatModel) -> Protocol:
    """The protocol `pgd`, then APGD on cross-entropy and on DLR."""
    return Protocol("cascade", "1", (FGSM(), *_pgd_pair(), APGD(), APGD(criterion=DLR())))


def _pgd_pair() -> tuple[PGD, PGD]:
    entropy = PGD(steps=20, step_size=0.125, restarts=5, early_stop=True)
    margin = PGD(steps=20, step_size=0.125, restarts=5, early_stop=True, criterion=Margin())
    return entropy, margin


PROTOCOLS: dict[str, Callable[[ThreatModel], Protocol]] = {"quick": quick, "pgd": pgd, "cascade": cascade}


def protocol(name: str, threat: ThreatModel) -> Protocol:
    """The protocol of a name for a threat model.

    Raises:
        InvalidInput: the name is unknown; the message has the nearest one.
    """
    if name not in PROTOCOLS:
        raise unknown("protocol", name, PROTOCOLS)
    return PROTOCOLS[name](threat)
