"""Comparison: methods trained to the same budget, evaluated alike, and what differs between them beyond noise."""

from holdfast.comparison.compare import compare
from holdfast.comparison.contender import Contender
from holdfast.training.budget import Budget

__all__ = ["Budget", "Contender", "compare"]
