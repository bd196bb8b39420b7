"""Cheaper passes of the same model: how they may be computed, and what shows which way is the fastest here."""

from holdfast.speed.passes import Passes, Precision
from holdfast.speed.stand_in import StandIn

__all__ = ["Passes", "Precision", "StandIn"]
