"""Errors: each can be caught as ours and as the builtin that callers expect, and names what was meant."""

import pytest

from holdfast import errors


@pytest.mark.parametrize(
    ("kind", "builtin"),
    [
        (errors.InvalidInput, ValueError),
        (errors.MissingExtra, ImportError),
        (errors.DataError, errors.HoldfastError),
        (errors.ThreatModelViolation, errors.HoldfastError),
        (errors.CheckpointError, errors.HoldfastError),
        (errors.TrainingDiverged, errors.HoldfastError),
    ],
)
def test_every_error_is_ours_and_a_builtin(kind: type[Exception], builtin: type[Exception]) -> None:
    assert issubclass(kind, errors.HoldfastError)
    assert issubclass(kind, builtin)


def test_an_unknown_name_gets_the_nearest_and_all() -> None:
    error = errors.unknown("method", "tradse", ["trades", "atlas", "pgd_at"])
    assert isinstance(error, errors.InvalidInput)
    assert str(error) == "unknown method 'tradse'; did you mean 'trades'? (known: atlas, pgd_at, trades)"


def test_a_name_like_no_other_gets_no_guess() -> None:
    assert str(errors.unknown("norm", "xyz", ["Linf"])) == "unknown norm 'xyz' (known: Linf)"
    assert str(errors.unknown("norm", "xyz", [])) == "unknown norm 'xyz' (known: )"
