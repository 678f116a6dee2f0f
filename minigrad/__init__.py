"""minigrad: see and prove your gradients."""
from minigrad.tensor import Tensor, asarray, name, get_default_dtype, set_default_dtype
from minigrad.modes import no_grad, enable_grad, scope, is_grad_enabled
from minigrad.tape import Tape
from minigrad.ops.elementwise import *
from minigrad.ops.reduction import *
