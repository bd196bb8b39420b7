"""CIFAR-100, Linf 8/255: mostly what was published for CIFAR-10, used on CIFAR-100 by others."""

from dataclasses import replace

from holdfast.attacks import PGD, Gaussian
from holdfast.data import HorizontalFlip, RandomCrop, source
from holdfast.methods import TRADES, FreeAT, Natural
from holdfast.models import PreActResNet18, WideResNet
from holdfast.recipe import SGD, Recipe, Step
from holdfast.recipes import cifar10, cifar10_successors, citations
from holdfast.recipes.citations import cited
from holdfast.threat import Linf

_MODEL = PreActResNet18(mean=(0.5071, 0.4865, 0.4409), std=(0.2673, 0.2564, 0.2762))
_RICE = f"{citations.RICE}, train_cifar100.py"
_STATISTICS = {"model.mean": f"{_RICE}, rounded", "model.std": f"{_RICE}, rounded"}
_N_FGSM = f"{citations.N_FGSM}, train.py, experiments.sh"
_LIKE_N_FGSM = f"ours, in the setting of {_N_FGSM}"


def n_fgsm() -> Recipe:
    return replace(cifar10.n_fgsm(), data=source("cifar100"), model=_MODEL, sources=cited(_N_FGSM))


def fgsm_rs() -> Recipe:
    sources = cited(_LIKE_N_FGSM, {"method": f"{citations.WONG}, its CIFAR-10"})
    return replace(n_fgsm(), method=cifar10.fgsm_rs().method, sources=sources)


def fgsm() -> Recipe:
    sources = cited(_LIKE_N_FGSM, {"method": f"{citations.GRAD_ALIGN}, its CIFAR-10"})
    return replace(n_fgsm(), method=cifar10.fgsm().method, sources=sources)


def atlas() -> Recipe:
    ours = {"method": citations.ATLAS, "method.inner": f"{citations.WONG}, its CIFAR-10", "eps_warmup": "ours"}
    recipe = cifar10.atlas()
    return replace(n_fgsm(), method=recipe.method, eps_warmup=0.3, sources=cited(_LIKE_N_FGSM, ours))


def pgd_at() -> Recipe:
    return replace(
        cifar10.pgd_at(),
        data=source("cifar100"),
        model=_MODEL,
        augment=(RandomCrop(padding=4), HorizontalFlip()),
        sources=cited(_RICE, _STATISTICS),
    )


def natural() -> Recipe:
    return replace(pgd_at(), method=Natural(), sources=cited(f"{_RICE} --attack none", _STATISTICS))


def free() -> Recipe:
    source_code = citations.FREE_CIFAR
    exceptions = {
        "model": f"{source_code}: 5 blocks a stage, which it counts as 32 layers",
        "model.mean": "ours: of the set, where the source standardises each image",
        "model.std": "ours: of the set, where the source standardises each image",
        "epochs": f"{source_code}: 80,000 steps of 8 replays, on 49,000 images",
    }
    return Recipe(
        method=FreeAT(replays=8, step_size=1.0),
        threat=Linf(8 / 255),
        data=source("cifar100"),
        model=WideResNet(depth=34, widen=10, mean=_MODEL.mean, std=_MODEL.std),
        optimizer=SGD(lr=0.1, momentum=0.9, weight_decay=2e-4, decay_everything=False),
        schedule=Step(milestones=(0.5, 0.75), drop=0.1),
        epochs=26,
        batch_size=128,
        augment=(RandomCrop(padding=4), HorizontalFlip()),
        sources=cited(source_code, exceptions),
    )


def trades() -> Recipe:
    return Recipe(
        method=TRADES(beta=6.0, inner=PGD(steps=10, step_size=2 / 8, initial=Gaussian(0.001))),
        threat=Linf("8/255"),
        data=source("cifar100"),
        model=WideResNet(depth=34, widen=10),
        optimizer=SGD(lr=0.1, momentum=0.9, weight_decay=5e-4),
        schedule=Step(milestones=(99 / 200, 149 / 200), drop=0.1),  # before epochs 100 and 150, counted from 1
        epochs=200,
        batch_size=128,
        augment=(RandomCrop(padding=4), HorizontalFlip()),
        sources=cited(f"{citations.AWP}, trades_AWP/train_trades_cifar.py, without perturbing weights"),
    )


def yopo() -> Recipe:
    sources = cited(f"ours: as on CIFAR-10 in {citations.YOPO}, experiments/CIFAR10/pre-res18.yopo-5-3")
    return replace(cifar10_successors.yopo(), data=source("cifar100"), sources=sources)


def trades_yopo() -> Recipe:
    like = f"{citations.YOPO}, experiments/CIFAR10-TRADES/pre-res18.TRADES-YOPO-3-4"
    sources = cited(f"ours: as on CIFAR-10 in {like}")
    return replace(cifar10_successors.trades_yopo(), data=source("cifar100"), sources=sources)


def mma() -> Recipe:
    sources = cited(f"ours: as on CIFAR-10 in {citations.MMA}, config.py")
    return replace(cifar10_successors.mma(), data=source("cifar100"), sources=sources)


def mart() -> Recipe:
    sources = cited(f"ours: as on CIFAR-10 in {citations.MART}, train_wideresnet.py")
    return replace(cifar10_successors.mart(), data=source("cifar100"), sources=sources)


def llr() -> Recipe:
    recipe = cifar10.llr()
    model = replace(recipe.model, mean=_MODEL.mean, std=_MODEL.std)
    ours = {name: source for name, source in recipe.sources.items() if name in ("epochs", "augment", "eps_warmup")}
    sources = cited(f"ours: as on CIFAR-10 in {citations.LLR}", ours | _STATISTICS)
    return replace(recipe, data=source("cifar100"), model=model, sources=sources)


def adr() -> Recipe:
    sources = cited(f"ours: as on CIFAR-10 in {citations.ADR}, ADR_tf", _STATISTICS)
    return replace(cifar10.adr(), data=source("cifar100"), model=_MODEL, sources=sources)


def adr_trades() -> Recipe:
    sources = cited(f"ours: as on CIFAR-10 in {citations.ADR}, ADR_pt")
    return replace(cifar10.adr_trades(), data=source("cifar100"), sources=sources)


def cure() -> Recipe:
    return replace(
        n_fgsm(), method=cifar10.cure().method, sources=cited(_LIKE_N_FGSM, {"method": "ours, as CIFAR-10's"})
    )


def jacobian() -> Recipe:
    sources = cited(f"ours, as {_RICE} --attack none", {"method": f"{citations.HOFFMAN}, README.md"})
    return replace(natural(), method=cifar10.jacobian().method, sources=sources)


def grad_align() -> Recipe:
    sources = cited(_LIKE_N_FGSM, {"method": f"{citations.GRAD_ALIGN}, its CIFAR-10"})
    return replace(n_fgsm(), method=cifar10.grad_align().method, sources=sources)


def awp() -> Recipe:
    augment = "ours: without the rotations by up to 15 degrees of the source"
    sources = cited(f"{citations.AWP}, AT_AWP/train_cifar100.py", _STATISTICS | {"augment": augment})
    return replace(pgd_at(), method=cifar10.awp().method, sources=sources)


def trades_awp() -> Recipe:
    sources = cited(f"{citations.AWP}, trades_AWP/train_trades_cifar.py --data CIFAR100")
    return replace(trades(), method=cifar10.trades_awp().method, sources=sources)


def sprout() -> Recipe:
    recipe = cifar10.sprout()
    sources = cited(f"ours: as on CIFAR-10 in {citations.SPROUT}")
    return replace(recipe, data=source("cifar100"), sources=sources)


RECIPES = {
    "natural": natural,
    "fgsm": fgsm,
    "fgsm_rs": fgsm_rs,
    "n_fgsm": n_fgsm,
    "pgd_at": pgd_at,
    "free": free,
    "trades": trades,
    "mart": mart,
    "yopo": yopo,
    "trades_yopo": trades_yopo,
    "mma": mma,
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
