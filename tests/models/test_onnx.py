"""ONNX files: the same logits as the network they hold, in any number of rows, and never a gradient."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from holdfast.errors import InvalidInput
from holdfast.models import is_blind
from holdfast.models.blackbox import onnx as read
from holdfast.models.foreign import loader
from holdfast.provenance import fingerprint

onnx = pytest.importorskip("onnx", reason="onnx, which writes the files, is not installed")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

WEIGHT = (np.arange(72 * 5).reshape(72, 5) % 7 - 3).astype(np.float32)


def write(path: Path, size: str | int = "B", kind: Any = np.float32, outputs: tuple[str, ...] = ("y",)) -> Path:
    """A linear classifier of [B, 2, 6, 6] into 5 classes; what is not the first output is its negative."""
    helper, dtype = onnx.helper, onnx.helper.np_dtype_to_tensor_dtype(np.dtype(kind))
    nodes = [
        helper.make_node("Flatten", ["x"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weight"], [outputs[0]]),
        *(helper.make_node("Neg", [outputs[0]], [name]) for name in outputs[1:]),
    ]
    graph = helper.make_graph(
        nodes,
        "linear",
        [helper.make_tensor_value_info("x", dtype, [size, 2, 6, 6])],
        [helper.make_tensor_value_info(name, dtype, [size, 5]) for name in outputs],
        [onnx.numpy_helper.from_array(WEIGHT.astype(kind), "weight")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize(("size", "kind"), [("B", np.float32), (1, np.float32), (8, np.float32), ("B", np.float64)])
def test_logits_are_the_networks_at_any_batch_size(size: str | int, kind: Any, images: Tensor, tmp_path: Path) -> None:
    model = read(write(tmp_path / "net.onnx", size, kind))
    expected = images.flatten(1) @ torch.from_numpy(WEIGHT)
    for rows in (1, 8, 12):
        logits = model(images[:rows].requires_grad_())
        torch.testing.assert_close(logits.float(), expected[:rows])
        assert not logits.requires_grad
    assert is_blind(model)


def test_a_gpu_is_asked_for_float32_and_by_each_process_for_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import onnxruntime

    begun, plain = [], onnxruntime.InferenceSession

    def begin(path: str, providers: list[tuple[str, dict[str, str]]]) -> Any:
        begun.extend(providers)
        return plain(path, providers=["CPUExecutionProvider"])

    both = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: both)
    monkeypatch.setattr(onnxruntime, "InferenceSession", begin)
    monkeypatch.setenv("LOCAL_RANK", "1")
    read(write(tmp_path / "net.onnx"))
    assert begun == [("CUDAExecutionProvider", {"use_tf32": "0", "device_id": "1"}), ("CPUExecutionProvider", {})]


def test_the_output_called_logits_is_taken(images: Tensor, tmp_path: Path) -> None:
    model = read(write(tmp_path / "net.onnx", outputs=("label", "logits")))
    torch.testing.assert_close(model(images), -images.flatten(1) @ torch.from_numpy(WEIGHT))
    with pytest.raises(InvalidInput, match=r"has the outputs label, probabilities; give one"):
        read(write(tmp_path / "net.onnx", outputs=("label", "probabilities")))


def test_files_of_no_image_classifier_are_refused(tmp_path: Path) -> None:
    (tmp_path / "nonsense.onnx").write_text("nonsense")
    with pytest.raises(InvalidInput, match=r"nonsense.onnx is no ONNX file that onnxruntime can run"):
        read(tmp_path / "nonsense.onnx")
    with pytest.raises(InvalidInput, match=r"has the inputs \(x: tensor\(int32\)\)"):
        read(write(tmp_path / "net.onnx", kind=np.int32))
    found = loader(str(write(tmp_path / "net.onnx")))
    assert found is not None
    with pytest.raises(InvalidInput, match=r"net.onnx does not take inputs of shape \(2, 3, 6, 6\)"):
        found[1]((3, 6, 6), 5)


def test_the_file_and_the_weights_beside_it_are_the_identity(tmp_path: Path) -> None:
    path = write(tmp_path / "net.onnx")
    first = fingerprint(read(path))
    write(tmp_path / "another.onnx")
    assert fingerprint(read(path)) == first
    (tmp_path / "net.onnx.data").write_bytes(b"weights")
    assert fingerprint(read(path)) != first
