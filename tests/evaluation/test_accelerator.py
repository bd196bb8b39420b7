"""What only a GPU shows: that its verdicts are the CPU's."""

import numpy as np
import pytest
from torch import Tensor, nn

from holdfast.data import ImageSet
from holdfast.evaluation import evaluate, protocol
from holdfast.evaluation.precision import EvaluationPrecision
from holdfast.threat import Linf

EPS = 0.05  # of the closed form in conftest.py


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", ["quick", "cascade"])
def test_a_gpu_gives_the_verdicts_of_the_closed_form(
    model: nn.Module, images: ImageSet, robust: Tensor, name: str, precision: EvaluationPrecision
) -> None:
    correct = (model(images.images).argmax(dim=1) == images.labels).numpy()
    threat = Linf(EPS)
    found = [
        evaluate(model, images, threat, protocol(name, threat), device=device, precision=precision, progress=False)
        for device in ("cpu", "cuda")
    ]
    for evaluation in found:
        np.testing.assert_array_equal(evaluation.verdicts.correct, correct)
        np.testing.assert_array_equal(evaluation.verdicts.robust, robust.numpy())
