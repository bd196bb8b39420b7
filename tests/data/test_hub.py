"""Data sets of the hub, with a stand-in for the package `datasets`: nothing here needs a network."""

import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from numpy.typing import NDArray

from holdfast.data import Hub
from holdfast.errors import DataError, InvalidInput, MissingExtra

Encode = Callable[..., bytes]
Pictures = Callable[..., NDArray[np.uint8]]


class Rows:
    """As much of a split of `datasets` as the source touches."""

    def __init__(self, encoded: list[bytes], labels: list[int], metadata: dict[str, str]) -> None:
        files = [{"bytes": file, "path": None} for file in encoded]
        self._table = pa.table({"img": files, "fine_label": labels}).replace_schema_metadata(metadata)
        self.features = types.SimpleNamespace(arrow_schema=self._table.schema)

    def with_format(self, kind: str) -> "Rows":
        assert kind == "arrow"
        return self

    def __getitem__(self, rows: slice) -> pa.Table:
        return self._table[rows]


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, encode: Encode, pictures: Pictures) -> dict[str, Any]:
    """A hub that knows one data set; returns its splits, and what was asked for under `asked`."""
    splits: dict[str, Any] = {
        "train": Rows([encode(i) for i in pictures(3, 2, 2, 3)], [0, 1, 1], {}),
        "validation": Rows([encode(i) for i in pictures(2, 2, 2, 3)], [2, 0], {}),
    }
    asked: dict[str, Any] = {}

    def load_dataset(hub_id: str, config: str | None, revision: str | None) -> dict[str, Any]:
        asked.update(id=hub_id, config=config, revision=revision)
        if hub_id != "some/bugs":
            raise ConnectionError("Couldn't reach the Hub")
        return splits

    package = types.ModuleType("datasets")
    monkeypatch.setattr(package, "load_dataset", load_dataset, raising=False)
    monkeypatch.setitem(sys.modules, "datasets", package)
    return {"splits": splits, "asked": asked}


def test_a_split_of_the_hub_is_decoded(hub: dict[str, Any], pictures: Pictures) -> None:
    source = Hub("some/bugs", config="plain", revision="abc123")
    train = source.load("train")
    assert hub["asked"] == {"id": "some/bugs", "config": "plain", "revision": "abc123"}
    assert (source.name, train.name, train.classes) == ("bugs", "bugs/train", ("0", "1", "2"))
    assert torch.equal(train.images, torch.from_numpy(pictures(3, 2, 2, 3)).permute(0, 3, 1, 2))
    assert source.load("test").labels.tolist() == [2, 0]


def test_names_of_classes_come_with_the_features(hub: dict[str, Any], encode: Encode, pictures: Pictures) -> None:
    metadata = {"huggingface": '{"info": {"features": {"fine_label": {"names": ["ant", "bee"]}}}}'}
    hub["splits"]["train"] = Rows([encode(i) for i in pictures(2, 2, 2)], [0, 1], metadata)
    assert Hub("some/bugs").load("train").classes == ("ant", "bee")


def test_well_known_ids_keep_their_short_names() -> None:
    assert [Hub(i).name for i in ("ylecun/mnist", "uoft-cs/cifar10", "uoft-cs/cifar100", "a/b")] == [
        "mnist",
        "cifar10",
        "cifar100",
        "b",
    ]


def test_without_a_network_the_remedy_is_a_folder(hub: dict[str, Any]) -> None:
    with pytest.raises(DataError) as caught:
        Hub("ylecun/mnist").load("test")
    words = ["ylecun/mnist", "Couldn't reach", "--data PATH", "train*.parquet", "HOLDFAST_DATA", "mnist/train"]
    assert all(word in str(caught.value) for word in words), caught.value


def test_a_missing_split_and_bad_options(hub: dict[str, Any]) -> None:
    del hub["splits"]["validation"]
    with pytest.raises(DataError, match=r"some/bugs on the hub has no test split, only train"):
        Hub("some/bugs").load("test")
    with pytest.raises(InvalidInput, match=r"unknown split"):
        Hub("some/bugs").load("val")
    with pytest.raises(InvalidInput, match=r"channels is 4"):
        Hub("some/bugs", channels=4)


def test_without_the_extra_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingExtra, match=r"mnist comes from the hub.*pip install 'holdfast\[hub\]'.*--data PATH"):
        Hub("ylecun/mnist").load("train")
