"""Models that answer with logits and hide everything else: functions of the user's, and ONNX files."""

import hashlib
import os
from collections.abc import Callable
from glob import escape
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from holdfast.errors import InvalidInput, MissingExtra
from holdfast.typing import Images, Logits

_DTYPES = {"tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(float16)": np.float16}
_REFUSALS = (TypeError, AttributeError, ValueError, RuntimeError)  # of a function that was given the wrong array


class Identified(nn.Module):
    """A model that its weights do not identify, with a digest of what does among its buffers.

    So whoever takes a model's state_dict for its identity, as an evaluation does, is right about this one too.

    Args:
        digest: at most 64 bytes of a hash.
    """

    digest: Tensor

    def __init__(self, digest: bytes) -> None:
        super().__init__()
        self.register_buffer("digest", torch.tensor(list(digest), dtype=torch.uint8))


class BlackBox(Identified):
    """A function from inputs to logits as a module: no gradient reaches its inputs, and there are no weights.

    Args:
        function: float32 [B, ...] in [0, 1] to logits [B, K]; row i of the answer depends on row i alone. It is given
            its own copy, and may answer with an array, a tensor or nested lists.
        label: for messages.
        digest: of what the answers depend on, e.g. of the function's file.
        takes_tensors: it is called with tensors on the CPU, otherwise with arrays of numpy.
    """

    def __init__(self, function: Callable[[Any], Any], label: str, digest: bytes, takes_tensors: bool = False) -> None:
        super().__init__(digest)
        self.function = function
        self.label = label
        self.takes_tensors = takes_tensors
        self.eval()  # what is inside has no modes that we know of

    def forward(self, x: Images) -> Logits:
        """[B, ...] on any device -> [B, K] on the same device, detached.

        Raises:
            InvalidInput: the answer is no array of numbers.
        """
        asked = x.detach().to("cpu", copy=True)
        with torch.no_grad():
            answer = self.function(asked if self.takes_tensors else asked.numpy())
        try:
            logits = answer.detach() if isinstance(answer, Tensor) else torch.from_numpy(np.array(answer))
        except (TypeError, ValueError) as error:
            raise InvalidInput(
                f"{self.label} answered with a {type(answer).__name__} ({error}); return logits [B, K], an array of "
                "numpy or a tensor"
            ) from error
        return logits.to(x.device, None if logits.is_floating_point() else torch.float32)

    def extra_repr(self) -> str:
        """What it stands for, for print(model)."""
        return self.label


def is_blind(model: nn.Module) -> bool:
    """A black box is in it, so that gradient attacks can do nothing."""
    return any(isinstance(module, BlackBox) for module in model.modules())


def black_box(function: Callable[[Any], Any], label: str, shape: tuple[int, ...], digest: bytes) -> BlackBox:
    """A user's function as a `BlackBox`; whether it takes arrays or tensors is found out by asking.

    It is shown two inputs of 0, as an array and, if it does not take that, as a tensor.

    Args:
        shape: of one example.

    Raises:
        InvalidInput: it takes neither.
    """
    zeros = torch.zeros(2, *shape)
    try:
        function(zeros.numpy())
    except _REFUSALS as of_array:
        try:
            with torch.no_grad():
                function(zeros)
        except _REFUSALS as of_tensor:
            raise InvalidInput(
                f"{label} takes neither an array of numpy nor a tensor of shape {tuple(zeros.shape)} ({of_array!r}; "
                f"{of_tensor!r}); it must take float32 inputs [B, ...] in [0, 1] and return logits [B, K]"
            ) from of_tensor
        return BlackBox(function, label, digest, takes_tensors=True)
    return BlackBox(function, label, digest)


def onnx(path: Path) -> BlackBox:
    """The network of an ONNX file, run by onnxruntime (the extra `onnx`), which computes no gradients.

    Files with a fixed batch size are asked in parts of that size. The digest is of the file and of all beside it whose
    names begin with its name, where exporters put weights beyond 2 GB.

    Args:
        path: of the file; one input [B, ...], and one output, or one named "logits".

    Raises:
        MissingExtra: onnxruntime is not installed.
        InvalidInput: not an ONNX file, or not one of a classifier.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingExtra(f"ONNX files need onnxruntime ({error}): pip install 'holdfast[onnx]'") from error
    # A result says that float32 is float32; each process that torchrun starts has a device of its own.
    on_gpu = {"use_tf32": "0", "device_id": os.environ.get("LOCAL_RANK", "0")}
    options: dict[str, dict[str, str]] = {"CUDAExecutionProvider": on_gpu, "CPUExecutionProvider": {}}
    wanted = [one for one in options.items() if one[0] in onnxruntime.get_available_providers()]
    try:
        session = onnxruntime.InferenceSession(str(path), providers=wanted)
    except Exception as error:  # onnxruntime's errors have no other base
        raise InvalidInput(f"{path} is no ONNX file that onnxruntime can run: {error}") from error
    return BlackBox(_Session(session, path), str(path), _digest(path))


def _digest(path: Path) -> bytes:
    total = hashlib.sha256()
    for part in sorted(path.parent.glob(f"{escape(path.name)}*")):
        total.update(part.name.encode())
        with part.open("rb") as file:
            total.update(hashlib.file_digest(file, "sha256").digest())
    return total.digest()


class _Session:
    """An onnxruntime session as a function on arrays."""

    def __init__(self, session: Any, path: Path) -> None:
        inputs, outputs = session.get_inputs(), session.get_outputs()
        names = [output.name for output in outputs]
        if len(inputs) != 1 or inputs[0].type not in _DTYPES:
            given = ", ".join(f"{one.name}: {one.type}" for one in inputs)
            raise InvalidInput(f"{path} has the inputs ({given}); a classifier takes one tensor of images, of floats")
        if len(names) > 1 and "logits" not in names:
            raise InvalidInput(f"{path} has the outputs {', '.join(names)}; give one, or name the right one logits")
        self.session = session
        self.path = path
        self.input = inputs[0].name
        self.output = names[0] if len(names) == 1 else "logits"
        self.dtype = _DTYPES[inputs[0].type]
        size = inputs[0].shape[0]
        self.size = size if isinstance(size, int) and size > 0 else None

    def __call__(self, x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        size = self.size or len(x)
        answers = []
        for start in range(0, len(x), size):
            part = x[start : start + size].astype(self.dtype)
            missing = size - len(part)
            # Rows are repeated to fill the last part: unlike zeros they are surely inputs that the network takes.
            padded = np.concatenate([part, np.repeat(part[-1:], missing, axis=0)]) if missing else part
            answers.append(self._ask(padded)[: len(part)])
        return np.concatenate(answers)

    def _ask(self, x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        try:
            answer: np.ndarray[Any, Any] = self.session.run([self.output], {self.input: x})[0]
        except Exception as error:  # as above
            raise InvalidInput(f"{self.path} does not take inputs of shape {x.shape}: {error}") from error
        return answer
