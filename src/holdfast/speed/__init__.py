"""Cheaper passes of the same model: how they may be computed, and what shows which way is the fastest here."""

from holdfast.speed.one_channel import is_quickened
from holdfast.speed.outer import adapt, autocast, laid_out
from holdfast.speed.passes import PLAIN, Passes, Precision
from holdfast.speed.stand_in import StandIn, StandIns
from holdfast.speed.trial import Demand, Trial, Tried, candidates, trial

__all__ = [
    "PLAIN",
    "Demand",
    "Passes",
    "Precision",
    "StandIn",
    "StandIns",
    "Trial",
    "Tried",
    "adapt",
    "autocast",
    "candidates",
    "is_quickened",
    "laid_out",
    "trial",
]
