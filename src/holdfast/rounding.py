"""Products of float32 numbers as float32 has them, also on devices that would rather round them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


@contextmanager
def float32(device: torch.device) -> Iterator[None]:
    """Passes at the precision of the model's own weights, also within a caller's autocast, and without TF32."""
    with without_tf32(), torch.autocast(device.type, enabled=False):
        yield


@contextmanager
def without_tf32() -> Iterator[None]:
    """Have CUDA multiply float32 matrices and convolve float32 images in float32, and restore its settings afterwards.

    By default cuDNN rounds the factors to TF32, with 10 bits of mantissa where float32 has 23 and bfloat16 has 7.
    Within the block torch refuses to read its older switches (`torch.backends.cudnn.allow_tf32`).
    """
    cudnn: Any = torch.backends.cudnn
    places: tuple[Any, ...] = (torch.backends.cuda.matmul, cudnn.conv, cudnn.rnn)
    before = [place.fp32_precision for place in places]
    try:
        for place in places:
            place.fp32_precision = "ieee"
        yield
    finally:
        for place, value in zip(places, before, strict=True):
            place.fp32_precision = value
