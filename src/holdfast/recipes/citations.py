"""What the recipes cite, and the choices that this house makes in all of them."""

from collections.abc import Mapping

WONG = "Wong, Rice and Kolter 2020 (arXiv:2001.03994), fast_adversarial 54f7287"
MADRY = "Madry et al. 2018 (arXiv:1706.06083), mnist_challenge 3ee3643"
RICE = "Rice, Wong and Kolter 2020 (arXiv:2002.11569), robust_overfitting c47a25c"
FREE = "Shafahi et al. 2019 (arXiv:1904.12843)"
FREE_CIFAR = f"{FREE}, free_adv_train c42cac2, config.py"
FREE_IMAGENET = f"{FREE}, FreeAdversarialTraining e185c84, configs.yml, lib/utils.py"
YOPO = "Zhang et al. 2019 (arXiv:1905.00877), YOPO b8ae668"
TRADES = "Zhang et al. 2019 (arXiv:1901.08573), TRADES 6e8e11b"
MART = "Wang et al. 2020 (OpenReview rklOg6EFwS), MART 2d83e17"
MMA = "Ding et al. 2020 (arXiv:1812.02637), mma_training 328e2e5"
AWP = "Wu, Xia and Wang 2020 (arXiv:2004.05884), AWP a7acf5d"
LLR = "Qin et al. 2019 (arXiv:1907.02610), local_linearity_regularizer 0471752"
ADR = "Bui et al. 2020 (arXiv:2007.05123), Adversarial-Divergence-Reduction 7304fa5"
SPROUT = "Cheng et al. 2021 (arXiv:2012.11769), SPROUT 26817a2"
N_FGSM = "de Jorge et al. 2022 (arXiv:2202.01181), N-FGSM 0a9e4f0"
GRAD_ALIGN = "Andriushchenko and Flammarion 2020 (arXiv:2007.02617), understanding-fast-adv-training ceed494"
CURE = "Moosavi-Dezfooli et al. 2019 (arXiv:1811.09716), CURE_robustness daeef24"
HOFFMAN = "Hoffman, Roberts and Yaida 2019 (arXiv:1908.02729), jacobian_regularizer 32bb044"
GOODFELLOW = "Goodfellow, Shlens and Szegedy 2015 (arXiv:1412.6572), section 6"
ENGSTROM = "Engstrom et al. 2019, robustness a954124"
ATLAS = "ours: a reconstruction of Lu and Kumar 2021 (arXiv:2110.14030), whose numbers are not known"

# What a paper says about a training; everything else is chosen once, for all recipes.
_PUBLISHED = ("method", "threat", "data", "model", "optimizer", "schedule", "epochs", "batch_size", "augment")
_HOUSE = {
    "threat.low": "the range of the images",
    "threat.high": "the range of the images",
    "eps_warmup": "none, as in the source of the method",
    "ema": "ours: none",
    "swa": "ours: none",
    "precision": "ours: the fastest by a trial; float32 for the papers' own",
    "channels_last": "ours: the fastest by a trial",
    "compile": "ours: the fastest by a trial",
    "accumulate": "ours: the whole batch at once",
    "holdout": f"1,000 training images (or 10 %, if that is less), as {RICE} --val",
    "validation": f"PGD-10 of eps/4 on the held-out images, as {RICE}; ours to stop at the first error",
    "on_collapse": f"ours, after --early-stop of {WONG}",
    "seed": "any",
}


def cited(by: str, exceptions: Mapping[str, str] | None = None) -> dict[str, str]:
    """The sources of a recipe: `by` for what papers say, but for the fields in `exceptions`."""
    return dict.fromkeys(_PUBLISHED, by) | _HOUSE | dict(exceptions or {})
