"""minigrad: see and prove your gradients."""
from minigrad.tensor import Tensor, asarray, name, get_default_dtype, set_default_dtype
from minigrad.modes import no_grad, enable_grad, scope, is_grad_enabled
from minigrad.tape import Tape
from minigrad.ops.elementwise import *
from minigrad.ops.reduction import *
from minigrad.transforms import grad, value_and_grad, vjp, jvp, jacobian, hessian, hvp
from minigrad.checkpoint import checkpoint
from minigrad.custom import custom
from minigrad.rng import manual_seed
import numpy as np
def ones(s): return Tensor(np.ones(s))
def zeros(s): return Tensor(np.zeros(s))
def eye(s): return Tensor(np.eye(s))
