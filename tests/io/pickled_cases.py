"""Objects that tests/io/data/pickles_0_1_0.xz has as pickles of version 0.1.0, with what they computed there.

`python pickled_cases.py FILE`, run with that version on the path, wrote it.
"""

import lzma
import pickle
import sys
from functools import partial

import numpy as np

import minigrad as mg
from minigrad import nn, optim


def values(*shape, seed=1):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


ROWS, SEQUENCE, IMAGE, VOLUME = values(3, 4), values(2, 3, 4), values(1, 4, 4, 4), values(1, 3, 3, 3, 2)
OTHERS, LABELS = values(3, 4, seed=2), np.array([0, 3, 1])
SIGNS, SHARES = np.sign(OTHERS), 1 / (1 + np.exp(-ROWS))
LOG_SHARES = np.log(np.random.default_rng(3).dirichlet(np.ones(4), size=(2, 4)))

ACTIVATIONS = (
    "ELU GELU SELU Hardsigmoid Hardswish Hardtanh LeakyReLU LogSigmoid LogSoftmax Mish PReLU ReLU ReLU6 SiLU Sigmoid "
    "Softmax Softplus Softsign Tanh Identity Flatten AlphaDropout Dropout"
)
LOSSES = {
    "BCELoss BCEWithLogitsLoss": (SHARES, OTHERS > 0),
    "CrossEntropyLoss NLLLoss MultiMarginLoss": (ROWS, LABELS),
    "HuberLoss L1Loss MSELoss SmoothL1Loss": (ROWS, OTHERS),
    "HingeLoss": (ROWS, SIGNS),
    "KLDivLoss": (np.log(SHARES), SHARES),
    "TripletMarginLoss": (ROWS, OTHERS, ROWS + OTHERS),
    "CosineEmbeddingLoss": (ROWS, OTHERS, np.array([1.0, -1.0, 1.0])),
    "CTCLoss": (LOG_SHARES, np.array([[1, 2], [3, 1]]), np.array([4, 4]), np.array([2, 2])),
}

# The name of each: how it is made, and its inputs
MODULES = {name: (getattr(nn, name), (ROWS,)) for name in ACTIVATIONS.split()}
MODULES |= {name: (getattr(nn, name), inputs) for names, inputs in LOSSES.items() for name in names.split()}
for name in ("RNN", "LSTM", "GRU"):
    MODULES[name] = partial(getattr(nn, name), 4, 2, bidirectional=True, rng=0), (SEQUENCE,)
    MODULES[f"{name}Cell"] = partial(getattr(nn, f"{name}Cell"), 4, 2, rng=0), (ROWS,)
for rank, (x, channels) in enumerate([(SEQUENCE, 4), (IMAGE, 4), (VOLUME, 2)], 1):
    for name in ("Conv", "ConvTranspose"):
        MODULES[f"{name}{rank}d"] = partial(getattr(nn, f"{name}{rank}d"), channels, 2, 2, groups=2, rng=0), (x,)
    for name, size in (("MaxPool", 2), ("AvgPool", 2), ("Dropout", 0.5)):
        MODULES[f"{name}{rank}d"] = partial(getattr(nn, f"{name}{rank}d"), size), (x,)
MODULES |= {
    "AdaptiveAvgPool": (lambda: nn.AdaptiveAvgPool(2), (IMAGE,)),
    "AdaptiveMaxPool": (lambda: nn.AdaptiveMaxPool(2), (IMAGE,)),
    "BatchNorm": (lambda: nn.BatchNorm(4), (ROWS,)),
    "Bilinear": (lambda: nn.Bilinear(4, 4, 2, rng=0), (ROWS, OTHERS)),
    "Embedding": (lambda: nn.Embedding(5, 2, rng=0), (LABELS,)),
    "GroupNorm": (lambda: nn.GroupNorm(2, 4), (IMAGE,)),
    "InstanceNorm": (lambda: nn.InstanceNorm(4), (IMAGE,)),
    "LayerNorm": (lambda: nn.LayerNorm(4), (ROWS,)),
    "Linear": (lambda: nn.Linear(4, 2, rng=0), (ROWS,)),
    "ModuleDict": (lambda: nn.ModuleDict({"a": nn.Linear(2, 2, rng=0)}), None),
    "ModuleList": (lambda: nn.ModuleList([nn.Linear(2, 2, rng=0)]), None),
    "MultiheadAttention": (lambda: nn.MultiheadAttention(4, 2, rng=0), (SEQUENCE,) * 3),
    "PositionalEncoding": (lambda: nn.PositionalEncoding(4), (SEQUENCE,)),
    "RMSNorm": (lambda: nn.RMSNorm(4), (ROWS,)),
    "Sequential": (
        lambda: nn.Sequential(
            nn.Conv2d(4, 2, 3, rng=0), nn.BatchNorm(2), nn.Dropout(0.5, rng=1), nn.Flatten(), nn.Linear(8, 2, rng=2)
        ),
        (IMAGE,),
    ),
    "TransformerEncoderLayer": (lambda: nn.TransformerEncoderLayer(4, 2, 4, dropout=0.5, rng=0), (SEQUENCE,)),
    "Upsample": (lambda: nn.Upsample(scale_factor=2), (IMAGE,)),
}  # fmt: skip

OPTIMIZERS = {
    **{name: partial(getattr(optim, name), lr=0.01) for name in ("Adam", "AdamW", "Adamax", "NAdam", "RAdam", "Lion")},
    **{name: partial(getattr(optim, name), lr=0.01) for name in ("Adadelta", "Adagrad", "LBFGS")},
    "SGD": partial(optim.SGD, lr=0.1, momentum=0.9, global_clipnorm=0.5),
    "RMSprop": partial(optim.RMSprop, lr=0.01, centered=True, momentum=0.5),
}
SCHEDULES = {
    "ConstantLR": optim.ConstantLR,
    "CosineAnnealingLR": lambda o: optim.CosineAnnealingLR(o, 8, eta_min=0.001),
    "CosineAnnealingWarmRestarts": lambda o: optim.CosineAnnealingWarmRestarts(o, 4),
    "ExponentialLR": lambda o: optim.ExponentialLR(o, 0.9),
    "LinearLR": optim.LinearLR,
    "MultiStepLR": lambda o: optim.MultiStepLR(o, [2, 4]),
    "OneCycleLR": lambda o: optim.OneCycleLR(o, max_lr=0.1, total_steps=9),
    "OneCycleLR, linear": lambda o: optim.OneCycleLR(o, max_lr=0.1, total_steps=9, anneal_strategy="linear"),
    "PolynomialLR": optim.PolynomialLR,
    "StepLR": lambda o: optim.StepLR(o, 2),
    "ChainedScheduler": lambda o: optim.ChainedScheduler([optim.StepLR(o, 2), optim.ExponentialLR(o, 0.9)]),
    "SequentialLR": lambda o: optim.SequentialLR(o, [optim.StepLR(o, 2), optim.ExponentialLR(o, 0.9)], [4]),
}


PACKAGES = (
    ". callbacks data training functional fused linalg nn nn.constraints nn.init nn.regularizers optim preprocessing"
)


def results(module, inputs):
    """What it computes in training, and then in evaluation."""
    if inputs is None:
        return [p.data for p in module.parameters()]
    mg.manual_seed(5)
    outputs = [module(*inputs)]
    module.eval()
    outputs.append(module(*inputs))
    return [np.asarray(getattr(x, "data", x)) for y in outputs for x in _leaves(y)]


def _leaves(y):
    return [x for part in y for x in _leaves(part)] if isinstance(y, tuple) else [y]


def trained(parts, steps=3):
    """The parameters after further steps, and the rates on the way."""
    model, optimizer, schedule = parts
    rates = []
    for _ in range(steps):

        def closure():
            optimizer.zero_grad()
            loss = (model(ROWS) ** 2).mean()
            loss.backward()
            return loss

        optimizer.step(closure)
        schedule.step()
        rates += schedule.get_last_lr()
    return [*(p.data.copy() for p in model.parameters()), np.array(rates)]


def parts_of(name, schedule):
    model = nn.Sequential(nn.Linear(4, 2, rng=0), nn.Tanh(), nn.Linear(2, 1, rng=1))
    optimizer = OPTIMIZERS[name](model.parameters())
    return model, optimizer, SCHEDULES[schedule](optimizer)


def public_names():
    """Where a pickle looks for each public class and function: its module, its name there, and its public place."""
    places = {}
    for name in PACKAGES.split():
        package = f"minigrad.{name}".rstrip(".")
        __import__(package)
        for public_name, value in vars(sys.modules[package]).items():
            module = getattr(value, "__module__", "")
            if callable(value) and str(module).startswith("minigrad") and public_name[0] != "_":
                try:
                    pickle.dumps(value)
                except pickle.PicklingError:
                    continue
                places[module, value.__qualname__] = package, public_name
    return [(*path, *place) for path, place in places.items()]


def written(path):
    """Write the file, with this version of minigrad."""
    modules = {}
    for name, (make, inputs) in MODULES.items():
        made = pickle.dumps(make())
        modules[name] = made, results(pickle.loads(made), inputs)
    runs = {}
    for name, schedule in [*((o, "StepLR") for o in OPTIMIZERS), *(("SGD", s) for s in SCHEDULES)]:
        parts = parts_of(name, schedule)
        trained(parts)
        made = pickle.dumps(parts)
        runs[name, schedule] = made, trained(parts)
    with lzma.open(path, "wb") as file:
        pickle.dump((modules, runs, public_names()), file)


if __name__ == "__main__":
    written(sys.argv[1])
