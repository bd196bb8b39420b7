"""The digits that come with scikit-learn: real scans, small enough for a test or a first try."""

from dataclasses import dataclass

import torch

from holdfast.data.imageset import ImageSet
from holdfast.data.source import check_split


@dataclass(frozen=True)
class Digits:
    """1,797 handwritten digits of 8 x 8 pixels (UCI optical recognition of handwritten digits, its test part).

    The 17 grey levels 0 to 16 are stored as round(level * 255 / 16). scikit-learn has no train and test parts, so the
    split is ours: a quarter (449) is the test split, stratified, drawn once with seed 0.
    """

    name: str = "digits"

    def load(self, split: str) -> ImageSet:
        """Read the split "train" (1,348) or "test" (449): uint8 [N, 1, 8, 8]."""
        from sklearn.datasets import load_digits

        check_split(split)
        levels, labels = load_digits(return_X_y=True)
        images = torch.from_numpy(levels).mul(255.0 / 16.0).round().to(torch.uint8).reshape(-1, 1, 8, 8)
        classes = tuple(str(digit) for digit in range(10))
        whole = ImageSet(images, torch.from_numpy(labels).long(), classes, f"{self.name}/{split}")
        train, test = whole.split_holdout(0.25, seed=0)
        return train if split == "train" else test
