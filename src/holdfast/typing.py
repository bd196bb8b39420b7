"""The shapes that travel through Holdfast. B is the number of examples, K the number of classes.

The names document; torch does not check shapes statically.
"""

from collections.abc import Callable

from torch import Tensor

Images = Tensor  # [B, ...] inputs in [low, high] of the threat model, any rank >= 2 (images: [B, C, H, W] in [0, 1])
Labels = Tensor  # [B] int64 class indices in [0, K)
Logits = Tensor  # [B, K] unnormalised scores
PerExample = Tensor  # [B] one float an example
Mask = Tensor  # [B] bool
Classifier = Callable[[Images], Logits]
