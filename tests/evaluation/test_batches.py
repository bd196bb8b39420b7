"""How many rows a batch has."""

import pytest
import torch

from holdfast.evaluation.batches import fitting, room, rows_of


@pytest.mark.parametrize(
    ("shape", "rows"), [((1, 28, 28), 1024), ((3, 32, 32), 256), ((3, 224, 224), 32), ((20,), 1024), ((3, 64, 64), 64)]
)
def test_a_batch_holds_fewer_rows_of_larger_inputs(shape: tuple[int, ...], rows: int) -> None:
    assert rows_of(shape) == rows


def test_a_large_device_takes_more_rows_of_large_inputs() -> None:
    assert [rows_of((3, 32, 32), room) for room in (1.0, 2.9, 3.0, 9.9)] == [256, 512, 1024, 1024]
    assert room(torch.device("cpu")) == 1.0


def test_a_batch_is_halved_until_it_fits() -> None:
    tried: list[int] = []

    def work(rows: int) -> str:
        tried.append(rows)
        if rows > 3:
            raise torch.OutOfMemoryError("too many")
        return "done"

    assert fitting(17, work) == (2, "done")
    assert tried == [17, 8, 4, 2]


def test_what_one_row_needs_must_be_there() -> None:
    def work(rows: int) -> None:
        raise torch.OutOfMemoryError("too many")

    with pytest.raises(torch.OutOfMemoryError):
        fitting(4, work)
