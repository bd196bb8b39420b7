"""A network of your own: a function of the images' shape and the number of classes that returns a module.

    holdfast train fgsm_rs --data digits --model examples/my_model.py:net

Inputs lie in [0, 1]; put a normalisation into the network if it needs one. A function that loads trained weights can be
measured without training: holdfast evaluate my_model.py:trained --data mnist --eps 0.3
"""

from torch import nn


def net(shape: tuple[int, ...], classes: int) -> nn.Module:
    """Two convolutions and the mean over their maps."""
    return nn.Sequential(
        nn.Conv2d(shape[0], 32, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(32, 64, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(4 * 64, classes),
    )
