"""ImageNet, Linf 4/255, for the methods that have published recipes. The ResNet-50 is timm's (extra `timm`).

SPROUT's setting, Restricted ImageNet, is not here: it trains on ten groups of classes, a set of data that Holdfast does
not make, and the release's script for it does not run.

The hub's copy is read into memory, 190 GB of it; of a folder of images on disk (--data PATH) the training images stay
there and are decoded when they are needed.
"""

from dataclasses import replace

from holdfast.attacks import FGSMRS, NFGSM, PGD, Uniform, Zero
from holdfast.data import HorizontalFlip, Hub, RandomCrop
from holdfast.methods import FGSMRSAT, NFGSMAT, PGDAT, FreeAT
from holdfast.models import Timm
from holdfast.recipe import SGD, OneCycle, Recipe, Step
from holdfast.recipes import citations
from holdfast.recipes.citations import cited
from holdfast.threat import Linf

_DATA = Hub("ILSVRC/imagenet-1k", name="imagenet", channels=3, size=224)
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_OURS = {
    "data": "ours: one size, 224 pixels, where the source crops at random sizes",
    "augment": "ours: crops of one size",
}


def fgsm_rs() -> Recipe:
    source = f"{citations.WONG}, ImageNet/configs/configs_fast_4px_phase{{1,2,3}}.yml"
    one_phase = f"ours: one phase in place of the three of {source}"
    return Recipe(
        method=FGSMRSAT(inner=FGSMRS(step_size=5 / 4)),
        threat=Linf(4 / 255),
        data=_DATA,
        model=Timm("resnet50", mean=_MEAN, std=_STD),
        optimizer=SGD(lr=0.4, momentum=0.9, weight_decay=1e-4, decay_everything=False),
        schedule=OneCycle(peak=1 / 15),
        epochs=15,
        batch_size=512,
        augment=(RandomCrop(padding=16), HorizontalFlip()),
        sources=cited(source, _OURS | {"schedule": one_phase, "batch_size": one_phase}),
    )


def n_fgsm() -> Recipe:
    code = f"{citations.N_FGSM}, Imagenet/experiments.sh, configs/configs_fast_phase{{1_short,2,3}}_all.yml"
    one_phase = f"ours: one phase in place of the three of {code}"
    method = NFGSMAT(inner=NFGSM(step_size=1.0, initial=Uniform(1.0)))  # noise of eps, half of CIFAR-10's
    sources = cited(code, _OURS | {"schedule": one_phase, "batch_size": one_phase})
    return replace(fgsm_rs(), method=method, sources=sources)


def pgd_at() -> Recipe:
    source = f"{citations.ENGSTROM}, robustness/defaults.py"
    attack = f"{citations.RICE}, imagenet_scripts/resume_linf.sh, which goes on with the model of robustness"
    return Recipe(
        method=PGDAT(inner=PGD(steps=5, step_size=0.004 * 255 / 4, initial=Zero())),
        threat=Linf(4 / 255),
        data=_DATA,
        model=Timm("resnet50", mean=_MEAN, std=_STD),
        optimizer=SGD(lr=0.1, momentum=0.9, weight_decay=1e-4),
        schedule=Step(milestones=(0.25, 0.5, 0.75), drop=0.1),
        epochs=200,
        batch_size=256,
        augment=(RandomCrop(padding=16), HorizontalFlip()),
        sources=cited(source, _OURS | {"method": attack, "threat.eps": attack, "method.inner.initial": source}),
    )


def free() -> Recipe:
    source = citations.FREE_IMAGENET
    return Recipe(
        method=FreeAT(replays=4, step_size=1.0),
        threat=Linf(4 / 255),
        data=_DATA,
        model=Timm("resnet50", mean=_MEAN, std=_STD),
        optimizer=SGD(lr=0.1, momentum=0.9, weight_decay=1e-4),
        schedule=Step(milestones=(8 / 23, 16 / 23), drop=0.1),
        epochs=23,
        batch_size=256,
        augment=(RandomCrop(padding=16), HorizontalFlip()),
        sources=cited(source, _OURS),
    )


RECIPES = {"fgsm_rs": fgsm_rs, "n_fgsm": n_fgsm, "pgd_at": pgd_at, "free": free}
