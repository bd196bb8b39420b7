"""CIFAR-10, Linf 8/255: images normalised inside the model, cropped and mirrored in training."""

from dataclasses import replace

from holdfast import methods
from holdfast.attacks import FGSM, FGSMRS, NFGSM, PGD, Gaussian, Uniform
from holdfast.data import HorizontalFlip, RandomCrop, source
from holdfast.models import PreActResNet18, WideResNet
from holdfast.recipe import SGD, OneCycle, Recipe, Step
from holdfast.recipes import citations
from holdfast.recipes.citations import cited
from holdfast.threat import Linf

_MEAN, _STD = (0.4914, 0.4822, 0.4465), (0.2471, 0.2435, 0.2616)
_WONG = f"{citations.WONG}, CIFAR10/train_fgsm.py"


def fgsm_rs() -> Recipe:
    return Recipe(
        method=methods.FGSMRSAT(inner=FGSMRS(step_size=10 / 8)),
        threat=Linf("8/255"),
        data=source("cifar10"),
        model=PreActResNet18(mean=_MEAN, std=_STD),
        optimizer=SGD(lr=0.2, momentum=0.9, weight_decay=5e-4),
        schedule=OneCycle(peak=0.5),
        epochs=15,
        batch_size=128,
        augment=(RandomCrop(padding=4), HorizontalFlip()),
        sources=cited(_WONG),
    )


def n_fgsm() -> Recipe:
    return replace(
        fgsm_rs(),
        method=methods.NFGSMAT(inner=NFGSM(step_size=1.0, initial=Uniform(2.0))),
        epochs=30,
        sources=cited(f"{citations.N_FGSM}, train.py, experiments.sh"),
    )


def fgsm() -> Recipe:
    return replace(
        fgsm_rs(),
        method=methods.FGSMAT(inner=FGSM(step_size=1.0), clean_weight=0.0),
        model=PreActResNet18(),
        schedule=OneCycle(peak=0.4),
        epochs=30,
        sources=cited(f"{citations.GRAD_ALIGN}, train.py, sh/exps_diff_eps_cifar10.sh"),
    )


def atlas() -> Recipe:
    ours = {"method": citations.ATLAS, "method.inner": _WONG, "eps_warmup": "ours"}
    return replace(
        fgsm_rs(),
        method=methods.ATLAS(
            inner=FGSMRS(step_size=10 / 8),
            local_component=methods.WorstPoint(rho=2 / 3, ramp=0.5),
            global_component=methods.GlobalComponent(beta=0.25),
        ),
        eps_warmup=0.3,
        sources=cited(f"ours, in the setting of {_WONG}", ours),
    )


def pgd_at() -> Recipe:
    return Recipe(
        method=methods.PGDAT(inner=PGD(steps=10, step_size=2 / 8)),
        threat=Linf("8/255"),
        data=source("cifar10"),
        model=PreActResNet18(mean=_MEAN, std=_STD),
        optimizer=SGD(lr=0.1, momentum=0.9, weight_decay=5e-4),
        schedule=Step(milestones=(0.5, 0.75), drop=0.1),
        epochs=200,
        batch_size=128,
        augment=(RandomCrop(padding=4, mode="reflect"), HorizontalFlip()),
        sources=cited(f"{citations.RICE}, train_cifar.py"),
    )


def natural() -> Recipe:
    return replace(pgd_at(), method=methods.Natural(), sources=cited(f"{citations.RICE}, train_cifar.py --attack none"))


def trades() -> Recipe:
    return Recipe(
        method=methods.TRADES(beta=6.0, inner=PGD(steps=10, step_size=7 / 31, initial=Gaussian(0.001))),  # 0.007
        threat=Linf(0.031),
        data=source("cifar10"),
        model=WideResNet(depth=34, widen=10),
        optimizer=SGD(lr=0.1, momentum=0.9, weight_decay=2e-4),
        schedule=Step(milestones=(74 / 76,), drop=0.1),  # before epoch 75, counted from 1
        epochs=76,
        batch_size=128,
        augment=(RandomCrop(padding=4), HorizontalFlip()),
        sources=cited(f"{citations.TRADES}, train_trades_cifar10.py"),
    )


def llr() -> Recipe:
    config = f"{citations.LLR}, config.py, datasets.py, wide_resnet.py"
    return Recipe(
        method=methods.LLR(),
        threat=Linf(8 / 255),
        data=source("cifar10"),
        model=WideResNet(
            depth=28,
            widen=8,
            activation="softplus",
            mean=(125.3 / 255, 123.0 / 255, 113.9 / 255),
            std=(63.0 / 255, 62.1 / 255, 66.7 / 255),
        ),
        optimizer=SGD(lr=0.1, momentum=0.9, weight_decay=2e-4, decay_everything=False),
        schedule=Step(milestones=(0.8, 0.88, 0.96), drop=0.1),
        epochs=131,
        batch_size=64,
        augment=(RandomCrop(padding=4, mode="reflect"), HorizontalFlip()),
        eps_warmup=0.005,
        sources=cited(
            config,
            {
                "epochs": f"{config}: 100,000 steps, rounded to epochs of 49,000 images",
                "augment": f"{config}; ours to crop each image on its own, where the source crops a batch alike",
                "eps_warmup": f"{config}: 500 of 100,000 steps",
            },
        ),
    )


def adr() -> Recipe:
    release = f"{citations.ADR}, ADR_tf/config.json, README.md, train_compact.py"
    return Recipe(
        method=methods.ADR(inner=PGD(steps=10, step_size=2 / 8)),
        threat=Linf(8 / 255),
        data=source("cifar10"),
        model=PreActResNet18(mean=_MEAN, std=_STD),
        optimizer=SGD(lr=0.1, momentum=0.9, weight_decay=2e-4, decay_everything=False),
        schedule=Step(milestones=(4 / 9, 6 / 9), drop=0.1),
        epochs=235,
        batch_size=128,
        augment=(RandomCrop(padding=2), HorizontalFlip()),
        sources=cited(
            release,
            {
                "model": f"ours, in place of the ResNet-32 of {release}",
                "epochs": f"{release}: 90,000 steps, rounded to epochs of 49,000 images",
            },
        ),
    )


def adr_trades() -> Recipe:
    port = f"{citations.ADR}, ADR_pt/adr.py, models.py, mysetting.py, 02a_adversarial_training.py"
    return replace(
        trades(),
        method=methods.ADRTRADES(
            global_smoothness=1.0,
            inner=PGD(steps=10, step_size=7 / 31, initial=Gaussian(0.001)),  # 0.007
        ),
        model=PreActResNet18(),
        optimizer=SGD(lr=0.01, momentum=0.9, weight_decay=3.5e-3),
        schedule=Step(milestones=(0.75, 0.9), drop=0.1),
        epochs=100,
        sources=cited(port, {"model": f"ours, in place of the ResNet-18 of {port}"}),
    )


def cure() -> Recipe:
    scaled = f"{citations.CURE}, CURE/CURE.py, whose inputs are divided by 0.2"
    sources = {
        "method": "ours: natural training first, in one run, where the source loads a trained network",
        "method.weight": f"{scaled}: 4",
        "method.h": f"{scaled}: 3",
        "method.ramp": f"{citations.CURE}, notebooks/example.ipynb: h rises over 5 of its 15 epochs; ours: linearly",
        "method.squared": citations.CURE,
    }
    return replace(
        fgsm_rs(),
        method=methods.CURE(weight=4 * 0.2, h=3 * 0.2, begin=0.5, ramp=0.5 / 3),
        epochs=30,
        sources=cited(f"ours, in the setting of {_WONG}", sources),
    )


def jacobian() -> Recipe:
    sources = {"method": f"{citations.HOFFMAN}, README.md"}
    return replace(
        natural(),
        method=methods.JacobianRegularisation(weight=0.01, projections=1),
        sources=cited(f"ours, as {citations.RICE}, train_cifar.py --attack none", sources),
    )


def grad_align() -> Recipe:
    return replace(
        fgsm(),
        method=methods.GradAlign(method=fgsm().method, weight=0.2),
        optimizer=SGD(lr=0.3, momentum=0.9, weight_decay=5e-4),
        sources=cited(f"{citations.GRAD_ALIGN}, train.py, sh/exps_diff_eps_cifar10.sh"),
    )


def awp() -> Recipe:
    sources = cited(f"{citations.AWP}, AT_AWP/train_cifar10.py")
    return replace(pgd_at(), method=methods.AWP(method=pgd_at().method, gamma=0.01), sources=sources)


def trades_awp() -> Recipe:
    inside = methods.TRADES(beta=6.0, inner=PGD(steps=10, step_size=2 / 8, initial=Gaussian(0.001)))
    return replace(
        trades(),
        method=methods.AWP(method=inside, gamma=0.005, warmup=9 / 200),  # from epoch 10 on, counted from 1
        threat=Linf("8/255"),
        optimizer=SGD(lr=0.1, momentum=0.9, weight_decay=5e-4),
        schedule=Step(milestones=(99 / 200, 149 / 200), drop=0.1),  # before epochs 100 and 150, counted from 1
        epochs=200,
        sources=cited(f"{citations.AWP}, trades_AWP/train_trades_cifar.py"),
    )


def sprout() -> Recipe:
    script = f"{citations.SPROUT}, main_cus.py, train_resume.sh"
    return Recipe(
        method=methods.SPROUT(weight_steps=3),
        threat=Linf(8 / 255),
        data=source("cifar10"),
        model=PreActResNet18(),
        optimizer=SGD(lr=0.01, momentum=0.9, weight_decay=5e-4),
        schedule=Step(milestones=(80 / 200, 140 / 200, 180 / 200), drop=0.1),
        epochs=200,
        batch_size=128,
        augment=(RandomCrop(padding=4), HorizontalFlip()),
        sources=cited(
            script,
            {
                "model": f"ours, in place of the VGG-16 of {script}",
                "threat": "ours: the method attacks nothing; what validation attacks with",
            },
        ),
    )


RECIPES = {
    "natural": natural,
    "fgsm": fgsm,
    "fgsm_rs": fgsm_rs,
    "n_fgsm": n_fgsm,
    "pgd_at": pgd_at,
    "trades": trades,
    "llr": llr,
    "adr": adr,
    "adr_trades": adr_trades,
    "sprout": sprout,
    "atlas": atlas,
    "cure": cure,
    "jacobian": jacobian,
    "grad_align": grad_align,
    "awp": awp,
    "trades+awp": trades_awp,
}
