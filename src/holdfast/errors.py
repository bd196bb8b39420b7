"""What Holdfast says when something cannot be done: the value, the limit and the remedy."""

from collections.abc import Iterable
from difflib import get_close_matches


class HoldfastError(Exception):
    """Base of every error that Holdfast raises on purpose; the command line prints it without a traceback."""


class InvalidInput(HoldfastError, ValueError):
    """A value that a caller gave is outside what the callee accepts."""


class MissingExtra(HoldfastError, ImportError):
    """An optional dependency is not installed; the message holds the command that installs it."""


class DataError(HoldfastError):
    """Images or labels cannot be found, read or believed."""


class ThreatModelViolation(HoldfastError):
    """An attack handed over an input that its threat model does not allow."""


class CheckpointError(HoldfastError):
    """A saved run or evaluation is truncated, foreign, or made with other settings."""


class TrainingDiverged(HoldfastError):
    """The loss is no longer finite; the last good checkpoint is kept."""


def unknown(kind: str, name: str, choices: Iterable[str]) -> InvalidInput:
    """Make the error for a name that is not among `choices`, naming the nearest one and all of them."""
    known = sorted(choices)
    near = get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return InvalidInput(f"unknown {kind} {name!r}{hint} (known: {', '.join(known)})")
