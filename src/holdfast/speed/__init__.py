"""Cheaper passes of the same model: how they may be computed, and what shows which way is the fastest here."""

from holdfast.speed.outer import autocast, outer_passes
from holdfast.speed.passes import Passes, Precision
from holdfast.speed.stand_in import StandIn
from holdfast.speed.trial import Demand, Trial, Tried, candidates, trial

__all__ = [
    "Demand",
    "Passes",
    "Precision",
    "StandIn",
    "Trial",
    "Tried",
    "autocast",
    "candidates",
    "outer_passes",
    "trial",
]
