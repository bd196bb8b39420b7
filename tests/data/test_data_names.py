"""From text to source."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from holdfast.data import Digits, Folder, Hub, Parquet, UserSource, source
from holdfast.errors import DataError, InvalidInput


@pytest.fixture
def parquet(
    tmp_path: Path,
    encode: Callable[..., bytes],
    pictures: Callable[..., NDArray[np.uint8]],
    write: Callable[..., None],
) -> Path:
    """A folder with a Parquet set `mnist` and an image folder `photos`."""
    for split in ("train", "test"):
        write(tmp_path / f"mnist/{split}.parquet", [encode(i) for i in pictures(2, 2, 2)], [0, 1])
    for word in ("a", "b"):
        (tmp_path / "photos/train" / word).mkdir(parents=True)
        Image.fromarray(np.zeros((2, 2), dtype=np.uint8)).save(tmp_path / "photos/train" / word / "0.png")
    return tmp_path


def test_names_mean_the_hub_unless_the_environment_has_them(parquet: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOLDFAST_DATA", raising=False)
    assert source("digits") == Digits()
    assert source("mnist") == Hub("ylecun/mnist")
    assert source("cifar10") == Hub("uoft-cs/cifar10")
    assert source("cifar100") == Hub("uoft-cs/cifar100")
    assert source("zalando-datasets/fashion_mnist") == Hub("zalando-datasets/fashion_mnist")
    monkeypatch.setenv("HOLDFAST_DATA", str(parquet))
    assert source("mnist") == Parquet(str(parquet / "mnist"), name="mnist")
    assert source("cifar10") == Hub("uoft-cs/cifar10"), "what the folder lacks still comes from the hub"


def test_a_path_is_looked_into(parquet: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert source(str(parquet / "mnist")) == Parquet(str(parquet / "mnist"))
    assert source(str(parquet / "photos")) == Folder(str(parquet / "photos"))
    monkeypatch.chdir(parquet)
    assert source("./mnist") == Parquet("./mnist", name="mnist")
    assert source("photos").name == "photos"
    with pytest.raises(DataError, match=r"holds no data that is known.*train\*.parquet.*train/<class>"):
        source(str(parquet / "photos/train/a"))


def test_what_is_no_source_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"unknown data 'cifar'; did you mean 'cifar10'"):
        source("cifar")
    with pytest.raises(DataError, match=r"no folder '/no/such/place'"):
        source("/no/such/place")
    with pytest.raises(DataError, match=r"no folder './here'"):
        source("./here")


def test_a_users_function_makes_a_source(tmp_path: Path) -> None:
    file = tmp_path / "my_data.py"
    file.write_text(
        "from holdfast.data import Digits\n"
        "def scans():\n    return Digits(name='scans')\n"
        "def nothing():\n    return 3\n"
        "number = 3\n"
    )
    made = source(f"{file}:scans")
    assert made == UserSource(str(file), "scans")
    assert made.name == "scans"
    assert made.load("test").fingerprint == Digits().load("test").fingerprint
    with pytest.raises(InvalidInput, match=r"nothing returned a int; return a source"):
        source(f"{file}:nothing")
    with pytest.raises(InvalidInput, match=r"number is a int; give a function"):
        source(f"{file}:number")
    with pytest.raises(InvalidInput, match=r"did you mean 'scans'"):
        source(f"{file}:scan")
