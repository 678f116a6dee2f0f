"""Losses as modules; the functions, with their equations and errors, are in `minigrad.functional.losses`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from minigrad import functional, fused
from minigrad.functional.losses.loss_checks import check_label_smoothing, check_reduction
from minigrad.nn.module import Module
from minigrad.tensor.convert import get_default_dtype
from minigrad.tensor.tensor import Tensor


class _Loss(Module):
    """A loss function with its options; options that are arrays are buffers."""

    function: ClassVar[Callable[..., Any]]

    def __init__(self, **options: Any) -> None:
        if options["reduction"] != "batchmean" or self.function is not functional.kl_div:
            check_reduction(options["reduction"], type(self).__name__)
        self._options = tuple(options)
        for name, option in options.items():
            value = np.array(option, dtype=get_default_dtype()) if isinstance(option, (list, tuple)) else option
            if hasattr(value, "shape"):
                self.register_buffer(name, value)
            else:
                setattr(self, name, value)

    def forward(self, *operands: Any) -> Tensor:
        return type(self).function(*operands, **{name: getattr(self, name) for name in self._options})

    def extra_repr(self) -> str:
        options = [(name, getattr(self, name)) for name in self._options]
        return ", ".join(
            f"{name}=array{value.shape}" if hasattr(value, "shape") else f"{name}={value!r}"
            for name, value in options
            if value is not None
        )


class CrossEntropyLoss(_Loss):
    """`functional.cross_entropy` of logits (..., C) and labels (...).

    Without options it is `fused.softmax_cross_entropy`, which is faster.

    Example:
        >>> CrossEntropyLoss()
        CrossEntropyLoss(label_smoothing=0.0, reduction='mean')
        >>> float(CrossEntropyLoss()(np.zeros((2, 4)), np.array([0, 3])).round(4))
        1.3863
    """

    function = staticmethod(functional.cross_entropy)
    weight: Any
    ignore_index: int | None
    label_smoothing: float
    reduction: str

    def __init__(
        self,
        weight: Any = None,
        ignore_index: int | None = None,
        label_smoothing: float = 0.0,
        reduction: str = "mean",
    ) -> None:
        check_label_smoothing(label_smoothing, "CrossEntropyLoss")
        super().__init__(weight=weight, ignore_index=ignore_index, label_smoothing=label_smoothing, reduction=reduction)

    def forward(self, *operands: Any) -> Tensor:
        if self.weight is None and self.ignore_index is None and not self.label_smoothing:
            return fused.softmax_cross_entropy(*operands, reduction=self.reduction)
        return super().forward(*operands)


class NLLLoss(_Loss):
    """`functional.nll_loss` of log-probabilities (..., C) and labels (...)."""

    function = staticmethod(functional.nll_loss)

    def __init__(self, weight: Any = None, ignore_index: int | None = None, reduction: str = "mean") -> None:
        super().__init__(weight=weight, ignore_index=ignore_index, reduction=reduction)


class MSELoss(_Loss):
    """`functional.mse_loss` of prediction and target."""

    function = staticmethod(functional.mse_loss)

    def __init__(self, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)


class L1Loss(_Loss):
    """`functional.l1_loss` of prediction and target."""

    function = staticmethod(functional.l1_loss)

    def __init__(self, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)


class HuberLoss(_Loss):
    """`functional.huber_loss` of prediction and target."""

    function = staticmethod(functional.huber_loss)

    def __init__(self, delta: float = 1.0, reduction: str = "mean") -> None:
        super().__init__(delta=delta, reduction=reduction)


class SmoothL1Loss(_Loss):
    """`functional.smooth_l1_loss` of prediction and target."""

    function = staticmethod(functional.smooth_l1_loss)

    def __init__(self, beta: float = 1.0, reduction: str = "mean") -> None:
        super().__init__(beta=beta, reduction=reduction)


class BCELoss(_Loss):
    """`functional.binary_cross_entropy` of probabilities and targets."""

    function = staticmethod(functional.binary_cross_entropy)

    def __init__(self, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)


class BCEWithLogitsLoss(_Loss):
    """`functional.binary_cross_entropy_with_logits` of logits and targets."""

    function = staticmethod(functional.binary_cross_entropy_with_logits)

    def __init__(self, pos_weight: Any = None, reduction: str = "mean") -> None:
        super().__init__(pos_weight=pos_weight, reduction=reduction)


class KLDivLoss(_Loss):
    """`functional.kl_div` of log-probabilities and targets; the divergence itself is reduction="batchmean"."""

    function = staticmethod(functional.kl_div)

    def __init__(self, log_target: bool = False, reduction: str = "mean") -> None:
        super().__init__(log_target=log_target, reduction=reduction)


class HingeLoss(_Loss):
    """`functional.hinge_loss` of scores and targets -1 or 1."""

    function = staticmethod(functional.hinge_loss)

    def __init__(self, margin: float = 1.0, reduction: str = "mean") -> None:
        super().__init__(margin=margin, reduction=reduction)


class MultiMarginLoss(_Loss):
    """`functional.multi_margin_loss` of scores (..., C) and labels (...)."""

    function = staticmethod(functional.multi_margin_loss)

    def __init__(self, p: int = 1, margin: float = 1.0, reduction: str = "mean") -> None:
        super().__init__(p=p, margin=margin, reduction=reduction)


class CosineEmbeddingLoss(_Loss):
    """`functional.cosine_embedding_loss` of x and y (..., D) and targets (...) -1 or 1."""

    function = staticmethod(functional.cosine_embedding_loss)

    def __init__(self, margin: float = 0.0, reduction: str = "mean") -> None:
        super().__init__(margin=margin, reduction=reduction)


class TripletMarginLoss(_Loss):
    """`functional.triplet_margin_loss` of anchor, positive and negative (..., D)."""

    function = staticmethod(functional.triplet_margin_loss)

    def __init__(self, margin: float = 1.0, p: float = 2, swap: bool = False, reduction: str = "mean") -> None:
        super().__init__(margin=margin, p=p, swap=swap, reduction=reduction)


class CTCLoss(_Loss):
    """`functional.ctc_loss` of log-probabilities (N, T, C), labels (N, L) and the lengths of both (N,)."""

    function = staticmethod(functional.ctc_loss)

    def __init__(self, blank: int = 0, reduction: str = "mean", zero_infinity: bool = False) -> None:
        super().__init__(blank=blank, reduction=reduction, zero_infinity=zero_infinity)
