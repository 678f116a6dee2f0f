"""Optimizers, their update rules as functions, and schedules of the learning rate."""

from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

from minigrad.optim import rules
from minigrad.optim.adam import Adam, Adamax, AdamW, NAdam, RAdam
from minigrad.optim.adaptive import Adadelta, Adagrad, RMSprop
from minigrad.optim.clip import clip_grad_norm_, clip_grad_value_
from minigrad.optim.lbfgs import LBFGS
from minigrad.optim.optimizer import Optimizer
from minigrad.optim.plateau import ReduceLROnPlateau
from minigrad.optim.schedule_base import ChainedScheduler, Schedule, SequentialLR
from minigrad.optim.schedules import (
    ConstantLR,
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
    ExponentialLR,
    LambdaLR,
    LinearLR,
    MultiStepLR,
    OneCycleLR,
    PolynomialLR,
    StepLR,
)
from minigrad.optim.sgd import SGD, Lion
from minigrad.util import hints as _hints

__all__ = [
    "LBFGS",
    "SGD",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "ChainedScheduler",
    "ConstantLR",
    "CosineAnnealingLR",
    "CosineAnnealingWarmRestarts",
    "ExponentialLR",
    "LambdaLR",
    "LinearLR",
    "Lion",
    "MultiStepLR",
    "NAdam",
    "OneCycleLR",
    "Optimizer",
    "PolynomialLR",
    "RAdam",
    "RMSprop",
    "ReduceLROnPlateau",
    "Schedule",
    "SequentialLR",
    "StepLR",
    "clip_grad_norm_",
    "clip_grad_value_",
    "rules",
]


if not _TYPE_CHECKING:  # which knows what is missing

    def __getattr__(name: str) -> _Any:
        raise _hints.missing(__name__, name, _hints.OPTIM)
