"""The old path of the losses, from version 0.1; they are in `minigrad.functional` now."""

import warnings

from minigrad.functional import losses
from minigrad.functional.losses import *  # noqa: F403

__all__ = losses.__all__

warnings.warn("minigrad.losses is minigrad.functional now", DeprecationWarning, stacklevel=2)
