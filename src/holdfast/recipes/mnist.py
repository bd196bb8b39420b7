"""MNIST, Linf 0.3. Images as they are: no normalisation, no augmentation."""

from dataclasses import replace

from holdfast import methods
from holdfast.attacks import FGSMRS, PGD, Gaussian, SoftMargin, Uniform
from holdfast.data import source
from holdfast.models import MLP, MadryCNN, TradesCNN, WongCNN
from holdfast.recipe import SGD, Adam, Constant, OneCycle, Recipe, Step
from holdfast.recipes import citations
from holdfast.recipes.citations import cited
from holdfast.threat import Linf

_WONG = f"{citations.WONG}, MNIST/train_mnist.py"
_MADRY = f"{citations.MADRY}, config.json, train.py"
_LIKE_WONG = f"ours, in the setting of {_WONG}"


def fgsm_rs() -> Recipe:
    return Recipe(
        method=methods.FGSMRSAT(inner=FGSMRS(step_size=1.25, initial=Uniform(clip=False))),  # 0.375
        threat=Linf(0.3),
        data=source("mnist"),
        model=WongCNN(),
        optimizer=Adam(lr=5e-3),
        schedule=OneCycle(peak=0.4),
        epochs=10,
        batch_size=100,
        sources=cited(_WONG),
    )


def natural() -> Recipe:
    return replace(fgsm_rs(), method=methods.Natural(), sources=cited(f"{_WONG} --attack none"))


def fgsm() -> Recipe:
    sources = cited(_LIKE_WONG, {"method": citations.GOODFELLOW})
    return replace(fgsm_rs(), method=methods.FGSMAT(), sources=sources)


def n_fgsm() -> Recipe:
    # A control: noise of twice eps 0.3 leaves little of a digit, and one-step training on it collapses here.
    method = f"{citations.N_FGSM}, its factors for CIFAR-10; nobody has published them for MNIST"
    sources = cited(_LIKE_WONG, {"method": method})
    return replace(fgsm_rs(), method=methods.NFGSMAT(), sources=sources)


def atlas() -> Recipe:
    ours = {"method": citations.ATLAS, "eps_warmup": "ours", "epochs": "ours", "batch_size": "ours"}
    return replace(
        fgsm_rs(),
        method=methods.ATLAS(
            inner=FGSMRS(step_size=1.25, initial=Uniform(clip=False)),
            local_component=methods.WorstPoint(rho=2 / 3, ramp=0.5),
            global_component=methods.GlobalComponent(beta=0.25),
        ),
        epochs=5,
        batch_size=128,
        eps_warmup=0.3,
        sources=cited(_LIKE_WONG, ours | {"method.inner": _WONG}),
    )


def pgd_at() -> Recipe:
    return Recipe(
        method=methods.PGDAT(inner=PGD(steps=40, step_size=1 / 30)),  # 0.01
        threat=Linf(0.3),
        data=source("mnist"),
        model=MadryCNN(),
        optimizer=Adam(lr=1e-4),
        schedule=Constant(),
        epochs=85,
        batch_size=50,
        sources=cited(_MADRY, {"epochs": f"{_MADRY}: 100,000 steps, rounded to epochs of 59,000 images"}),
    )


def free() -> Recipe:
    # Nobody has published it for MNIST. With the gradient through the box, as on CIFAR, it overfits catastrophically.
    sources = cited(
        _LIKE_WONG,
        {
            "method": f"{citations.FREE_CIFAR}, its CIFAR-10",
            "method.through_box": f"{citations.WONG}, CIFAR10/train_free.py",
            "epochs": "ours",
            "eps_warmup": "ours",
        },
    )
    method = methods.FreeAT(replays=8, through_box=False)
    return replace(fgsm_rs(), method=method, epochs=2, eps_warmup=0.3, sources=sources)


def trades() -> Recipe:
    return Recipe(
        method=methods.TRADES(beta=1.0, inner=PGD(steps=40, step_size=1 / 30, initial=Gaussian(0.001))),
        threat=Linf(0.3),
        data=source("mnist"),
        model=TradesCNN(dropout=0.5),
        optimizer=SGD(lr=0.01, momentum=0.9, weight_decay=0.0),
        schedule=Step(milestones=(0.54, 0.74, 0.89), drop=0.1),  # before epochs 55, 75 and 90, counted from 1
        epochs=100,
        batch_size=128,
        sources=cited(f"{citations.TRADES}, train_trades_mnist.py"),
    )


def yopo() -> Recipe:
    return Recipe(
        method=methods.YOPO(outer=5, inner=PGD(steps=10, step_size=1 / 30)),  # 0.01
        threat=Linf(0.3),
        data=source("mnist"),
        model=TradesCNN(dropout=0.5),
        optimizer=SGD(lr=0.01 / 5, momentum=0.9, weight_decay=5e-4),
        schedule=Step(milestones=(30 / 40, 35 / 40, 39 / 40), drop=0.1),
        epochs=40,
        batch_size=256,
        sources=cited(f"{citations.YOPO}, experiments/MNIST/YOPO-5-10"),
    )


def trades_yopo() -> Recipe:
    inner = PGD(steps=10, step_size=1 / 30, initial=Gaussian(0.001))
    like = f"{citations.YOPO}, experiments/MNIST/YOPO-5-10"
    return replace(
        yopo(),
        method=methods.TRADESYOPO(outer=5, inner=inner, beta=1.0),
        optimizer=SGD(lr=0.01, momentum=0.9, weight_decay=5e-4),
        sources=cited(f"ours: as {like}, with the loss of its CIFAR10-TRADES"),
    )


def mma() -> Recipe:
    published = f"{citations.MMA}, config.py, run_mnist_training.sh"
    inner = PGD(steps=40, step_size=2.5 / 40, criterion=SoftMargin())
    return replace(
        pgd_at(),
        method=methods.MMA(max_radius=0.45 / 0.3, min_radius=0.1 / 0.3, clean_weight=1 / 3, inner=inner),
        sources=cited(published, {"epochs": f"{published}: 100,000 steps, rounded to epochs of 59,000 images"}),
    )


def mart() -> Recipe:
    like_trades = f"ours, in the setting of {citations.TRADES}, train_trades_mnist.py"
    inner = PGD(steps=40, step_size=1 / 30, initial=Gaussian(0.001))
    sources = cited(like_trades, {"method": f"{citations.MART}, its CIFAR-10", "method.inner": like_trades})
    return replace(trades(), method=methods.MART(beta=6.0, inner=inner), sources=sources)


def llr() -> Recipe:
    method = f"ours: the weights of {citations.LLR}, its CIFAR-10; nobody has published them for MNIST"
    ours = {"method": method, "model": f"{_WONG}, but softplus as in {citations.LLR}", "eps_warmup": "ours"}
    return replace(
        fgsm_rs(),
        method=methods.LLR(),
        model=WongCNN(activation="softplus"),
        eps_warmup=0.3,
        sources=cited(_LIKE_WONG, ours),
    )


def adr() -> Recipe:
    port = f"{citations.ADR}, ADR_pt/adr.py, models.py, mysetting.py, 02a_adversarial_training.py"
    inner = PGD(steps=40, step_size=1 / 30)
    return replace(
        trades(),
        method=methods.ADR(1.0, 1.0, global_smoothness=1.0, layer="flatten", inner=inner, batch_statistics=False),
        schedule=Step(milestones=(0.55, 0.75, 0.9), drop=0.1),
        sources=cited(port),
    )


def adr_trades() -> Recipe:
    inner = PGD(steps=40, step_size=1 / 30, initial=Gaussian(0.001))
    return replace(adr(), method=methods.ADRTRADES(global_smoothness=1.0, layer="flatten", inner=inner))


def cure() -> Recipe:
    # The numbers of the reference, for CIFAR-10, leave MNIST as fragile as natural training at eps 0.3.
    sources = cited(_LIKE_WONG, {"method": "ours, chosen by hand on held-out images"})
    return replace(fgsm_rs(), method=methods.CURE(weight=4.0, h=3.0, ramp=0.4), sources=sources)


def jacobian() -> Recipe:
    example = f"{citations.HOFFMAN}, examples/mnist.py"
    weight = f"{example}: 0.1, times the square of the deviation 0.3081 that it divides the inputs by"
    return replace(
        fgsm_rs(),
        method=methods.JacobianRegularisation(weight=0.1 * 0.3081**2, projections=1),
        model=MLP(hidden=(200, 200), mean=(0.1307,), std=(0.3081,)),
        optimizer=SGD(lr=0.01, momentum=0.9, weight_decay=5e-4),
        schedule=Constant(),
        epochs=5,
        batch_size=64,
        sources=cited(example, {"method.weight": weight, "threat": "ours, for evaluation: there is no adversary"}),
    )


def grad_align() -> Recipe:
    # From a start at x, as in the paper, black pixels know two values, and the gradients there are never made alike.
    method = f"{citations.GRAD_ALIGN}, its CIFAR-10 at 8/255; nobody has published a weight for MNIST"
    return replace(
        fgsm_rs(),
        method=methods.GradAlign(method=fgsm_rs().method, weight=0.2),
        sources=cited(_LIKE_WONG, {"method": method, "method.method": _WONG}),
    )


def awp() -> Recipe:
    sources = {"method": f"{citations.AWP}, its CIFAR-10", "method.method": _MADRY}
    return replace(
        pgd_at(), method=methods.AWP(method=pgd_at().method, gamma=0.01), sources=cited(f"ours, as {_MADRY}", sources)
    )


def sprout() -> Recipe:
    script = f"{citations.SPROUT}, main_cus.py, train_resume.sh"
    return Recipe(
        method=methods.SPROUT(weight_steps=3),
        threat=Linf(0.3),
        data=source("mnist"),
        model=WongCNN(),
        optimizer=SGD(lr=0.01, momentum=0.9, weight_decay=5e-4),
        schedule=Step(milestones=(60 / 120, 100 / 120), drop=0.1),
        epochs=120,
        batch_size=128,
        sources=cited(
            script,
            {
                "model": f"ours, in place of the VGG of {script}",
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
}
