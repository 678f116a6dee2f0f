"""The names that people give to gradients: dmu, d_mu, dMu, grad_mu, mu_grad, delta_mu, dL_dmu, self.grads["W"]."""

from __future__ import annotations

import re
from collections.abc import Iterator

# The word of the gradient, before or after the name of the value, the common ones first.
_PATTERNS = tuple(
    re.compile(pattern)
    for pattern in (
        r"^d(?:[lLJEC]|[lL]oss)_?d_?(.+)$",
        r"^d_?(.+)$",
        r"^(?:grad|gradient|delta|g|D|nabla|bar)_(.+)$",
        r"^(?:grad|delta)([A-Z0-9].*)$",
        r"^(.+)_(?:grad|gradient|delta|bar|g)$",
        r"^(.+?)(?:Grad|Delta)$",
    )
)
_CONTAINERS = re.compile(r"^(?:d|grads?|gradients?|dparams|d_params|deltas?|param_grads?|_?grads?_)$", re.IGNORECASE)
# Names of the upstream gradient of an only result, whatever the result is called.
UPSTREAM = frozenset(("out", "y", "output", "outputs", "upstream", "top", "z", "next", "l", "loss"))
_PLAIN_UPSTREAM = re.compile(
    r"^(?:d|g|grad|gradient|delta|upstream|grads?_?outputs?|output_?grads?|upstream_?(?:grad|gradient|derivative)?|dupstream|error|err)$",
    re.IGNORECASE,
)


def squeeze(name: str) -> str:
    """A name without underscores and capitals, as people vary both: X_hat and xhat are one value."""
    return name.replace("_", "").lower()


def values_named_by(name: str) -> Iterator[str]:
    """The squeezed names of values whose gradient a name may be, the most likely first.

    Example:
        >>> list(values_named_by("d_mu")), list(values_named_by("xhat_grad"))
        (['mu'], ['xhat'])
    """
    container, _, last = name.rpartition(".")
    seen = set()
    for pattern in _PATTERNS:
        match = pattern.match(last)
        if match and (value := squeeze(match.group(1))) and value not in seen:
            seen.add(value)
            yield value
    if container and _CONTAINERS.match(container.rpartition(".")[2]) and squeeze(last) not in seen:
        yield squeeze(last)


def is_upstream(name: str) -> bool:
    """Whether a name is one that people give to the gradient of the result: dout, dy, grad_output, upstream."""
    return bool(_PLAIN_UPSTREAM.match(name)) or any(value in UPSTREAM for value in values_named_by(name))


def without_suffix(name: str) -> str:
    """A name of one of several contributions without what tells them apart: dx1, dx_2, dx_a, dxmu_part -> dx, dxmu."""
    return re.sub(r"(?:_?\d+|_[a-z]|_part\d*|_via_\w+|_from_\w+|_through_\w+|')$", "", name)
