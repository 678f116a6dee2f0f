"""Errors for names of PyTorch, Keras and NumPy that are different here: they say what to write instead.

A class gets a descriptor for each such name. Unlike `__getattr__`, it does not slow down the lookup of other
attributes, and `hasattr` remains False. The `__getattr__` functions of modules read the tables for namespaces.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Mapping
from types import ModuleType
from typing import Any, Never

TENSOR = {
    "add_": "Write t += x, under mg.no_grad() if t requires grad",
    "amax": "It is t.max(axis)",
    "amin": "It is t.min(axis)",
    "bmm": "It is t @ u, mg.matmul",
    "byte": "Write t.astype(np.uint8)",
    "bool": "Write t.astype(bool)",
    "chunk": "It is mg.split(t, sections, axis=...)",
    "clamp": "It is t.clip(min, max)",
    "clamp_": "Write t = t.clip(min, max), or t[...] = t.clip(min, max) under mg.no_grad()",
    "clone": "It is mg.copy(t), which keeps the history; mg.copy(t.detach()) does not",
    "contiguous": "Tensors need not be; mg.copy(t) makes a copy",
    "copy_": "Write t[...] = values, under mg.no_grad() if t requires grad",
    "cpu": "Tensors are always on the CPU: leave it out",
    "cuda": "There is only the CPU: leave it out",
    "detach_": "Write t = t.detach()",
    "dim": "It is t.ndim",
    "double": "Write t.astype(np.float64)",
    "element_size": "It is t.dtype.itemsize",
    "eq": "It is t == u",
    "expand": "It is t.broadcast_to(shape)",
    "fill_": "Write t[...] = value, under mg.no_grad() if t requires grad",
    "float": "Write t.astype(np.float32); float(t) makes a Python number",
    "half": "Write t.astype(np.float16)",
    "int": "Write t.astype(np.int32); int(t) makes a Python number",
    "is_contiguous": "Tensors need not be contiguous: leave it out",
    "long": "Write t.astype(np.int64)",
    "masked_fill": "It is mg.where(mask, value, t)",
    "matmul": "It is t @ u, mg.matmul",
    "mm": "It is t @ u, mg.matmul",
    "mul_": "Write t *= x, under mg.no_grad() if t requires grad",
    "nelement": "It is t.size",
    "norm": "It is mg.linalg.vector_norm(t), or mg.linalg.matrix_norm",
    "numel": "It is t.size",
    "permute": "It is t.transpose(*axes), mg.permute_dims",
    "pow": "It is t ** n, mg.pow",
    "requires_grad_": "Write t.requires_grad = True",
    "scatter": "It is mg.scatter",
    "softmax": "It is mg.functional.softmax(t, axis=...)",
    "split": "It is mg.split(t, sections, axis=...)",
    "sub_": "Write t -= x, under mg.no_grad() if t requires grad",
    "t": "It is t.T",
    "to": "There is only the CPU; for another dtype write t.astype(dtype)",
    "type": "Write t.astype(dtype); t.dtype is the current one",
    "unsqueeze": "It is t.expand_dims(axis), or t[:, None]",
    "view": "It is t.reshape(*sizes)",
    "view_as": "It is t.reshape(u.shape)",
    "zero_": "Write t[...] = 0, under mg.no_grad() if t requires grad; a gradient is reset with t.grad = None",
}

MODULE = {
    "add": "Only an nn.ModuleList grows: give the layers to nn.Sequential at once",
    "add_module": "Write setattr(model, name, module)",
    "bfloat16": "Give dtype= to the layers, or call mg.set_default_dtype before they are made",
    "compile": "It is mg.compile(step), around the whole training step",
    "cpu": "Models are always on the CPU: leave it out",
    "cuda": "There is only the CPU: leave it out",
    "double": "Give dtype= to the layers, or call mg.set_default_dtype('float64') before they are made",
    "evaluate": "It is minigrad.training.evaluate(model, loader, loss)",
    "fit": "It is mg.fit(model, loader, loss, optimizer, epochs)",
    "float": "Give dtype= to the layers, or call mg.set_default_dtype('float32') before they are made",
    "get_parameter": "It is dict(model.named_parameters())[name]",
    "half": "Give dtype= to the layers, such as dtype='float16'",
    "load_weights": "Write model.load_state_dict(mg.io.load(path))",
    "predict": "Call the model itself, model.eval()(x), under mg.no_grad()",
    "register_module": "Write setattr(model, name, module)",
    "register_parameter": "Write model.name = mg.Tensor(values, requires_grad=True)",
    "save": "Write mg.io.save(path, model.state_dict())",
    "save_weights": "Write mg.io.save(path, model.state_dict())",
    "to": "There is only the CPU; for another dtype give dtype= to the layers, or call mg.set_default_dtype before",
    "type": "Give dtype= to the layers, or call mg.set_default_dtype before they are made",
}

_FIXED = (
    "A Sequential does not grow. Make another from its modules, nn.Sequential(*model, layer), or collect them before "
    "in a list or an nn.ModuleList"
)
SEQUENTIAL = dict.fromkeys(("add", "append", "extend", "insert", "pop"), _FIXED)

SCHEDULE = {
    "base_lrs": 'It is [group["initial_lr"] for group in optimizer.param_groups]',
    "get_lr": "It is get_last_lr()",
    "last_epoch": "It is schedule.steps, the number of calls of step()",
}

_PARAMETER = "A parameter is a Tensor that a module has as its attribute: mg.Tensor(values, requires_grad=True)"
_IN_A_LIST = (
    "Give each an attribute of its own, setattr(self, f'weight_{k}', mg.Tensor(values, requires_grad=True)), or hold "
    "modules in an nn.ModuleList or nn.ModuleDict"
)

NN = {
    "BatchNorm1d": "It is nn.BatchNorm(channels), for any number of axes; channels are last",
    "BatchNorm2d": "It is nn.BatchNorm(channels), for any number of axes; channels are last, (N, H, W, C)",
    "BatchNorm3d": "It is nn.BatchNorm(channels), for any number of axes; channels are last, (N, D, H, W, C)",
    "BatchNormalization": "It is nn.BatchNorm(channels)",
    "Dense": "It is nn.Linear(in_features, out_features)",
    "DataParallel": "There is only the CPU, whose cores NumPy's products use already",
    "LayerNormalization": "It is nn.LayerNorm(features)",
    "Parameter": _PARAMETER,
    "ParameterDict": _IN_A_LIST,
    "ParameterList": _IN_A_LIST,
    "SyncBatchNorm": "It is nn.BatchNorm(channels)",
    "Swish": "It is nn.SiLU()",
    "ZeroPad2d": "It is the function mg.pad, or padding= of the convolution",
    "functional": "It is mg.functional",
    "parallel": "There is only the CPU, whose cores NumPy's products use already",
    "utils": "Gradients are clipped by optim.clip_grad_norm_ and optim.clip_grad_value_",
} | {
    f"{name}{n}d": f"It is nn.{name}, for any number of axes; channels are last"
    for name in ("InstanceNorm", "AdaptiveAvgPool", "AdaptiveMaxPool")
    for n in (1, 2, 3)
}

OPTIM = {
    "CyclicLR": "Of the schedules with a cycle there are optim.OneCycleLR and optim.CosineAnnealingWarmRestarts",
    "LRScheduler": "It is optim.Schedule",
    "lr_scheduler": "Schedules stand beside the optimizers: optim.StepLR, optim.CosineAnnealingLR, ...",
}

_IN_PLACE = "Initializers return arrays: p[...] = init.{}(p.shape) under mg.no_grad(), or init={!r} of the layer"
_SAME = (
    "xavier_uniform", "xavier_normal", "kaiming_uniform", "kaiming_normal", "orthogonal", "uniform", "normal", "zeros",
    "ones", "constant", "dirac", "sparse",
)  # fmt: skip
INIT = {f"{here}_": _IN_PLACE.format(here, here) for here in _SAME} | {
    "calculate_gain": "It is init.gain",
    "eye_": _IN_PLACE.format("identity", "identity"),
    "trunc_normal_": _IN_PLACE.format("truncated_normal", "truncated_normal"),
}

_DRAWN = "NumPy draws numbers: rng = np.random.default_rng(0), then mg.Tensor(rng.{})"
NAMESPACE = {
    "Adam": "It is mg.optim.Adam",
    "DataLoader": "It is mg.data.DataLoader",
    "Linear": "It is mg.nn.Linear",
    "Module": "It is mg.nn.Module",
    "Sequential": "It is mg.nn.Sequential",
    "autograd": "Derivatives are t.backward(), mg.grad, mg.vjp, mg.jvp, mg.jacobian and mg.hessian",
    "chunk": "It is mg.split",
    "cuda": "There is only the CPU",
    "device": "There is only the CPU: leave it out",
    "double": "It is mg.float64",
    "dot": "It is x @ y, mg.matmul",
    "float": "It is mg.float32",
    "float16": "Write dtype='float16'",
    "half": "Write dtype='float16'",
    "load": "It is mg.io.load(path), and model.load_state_dict takes what it returns",
    "long": "It is mg.int64",
    "masked_fill": "It is mg.where(mask, value, t)",
    "norm": "It is mg.linalg.vector_norm, or mg.linalg.matrix_norm",
    "rand": _DRAWN.format("random(size)"),
    "rand_like": _DRAWN.format("random(t.shape)"),
    "randint": _DRAWN.format("integers(low, high, size)"),
    "randn": _DRAWN.format("normal(size=size)"),
    "randn_like": _DRAWN.format("normal(size=t.shape)"),
    "random": "NumPy draws numbers: rng = np.random.default_rng(0)",
    "randperm": _DRAWN.format("permutation(n)"),
    "save": "It is mg.io.save(path, model.state_dict())",
    "utils": "It is mg.data.DataLoader; gradients are clipped by mg.optim.clip_grad_norm_",
}

# Keyword arguments of PyTorch's and Keras's layers
KEYWORDS = {
    "affine": "gamma and beta are always there; freeze them with requires_grad = False",
    "batch_first": "sequences are always batch first, (N, T, features): leave it out",
    "device": "there is only the CPU: leave it out",
    "dim": "it is called axis",
    "inplace": "results are always new Tensors: leave it out",
    "padding_mode": "convolutions pad with zeros; call mg.pad before for another mode",
    "track_running_stats": "running statistics are always kept; use them with layer.eval()",
    "units": "layers take both sizes: nn.Linear(in_features, out_features)",
}


class Hint:
    """A descriptor for a name that is not an attribute: reading it raises an error with a hint."""

    __slots__ = ("hint", "name")

    def __init__(self, name: str, hint: str) -> None:
        self.name, self.hint = name, hint

    def __get__(self, instance: Any, owner: type) -> Never:
        holder = f"type object {owner.__name__!r}" if instance is None else f"{owner.__name__!r} object"
        raise AttributeError(f"{holder} has no attribute {self.name!r}. {self.hint}")


def install(cls: type, table: Mapping[str, str]) -> None:
    """Add hints to a class for names that it does not have. `dir` of its objects does not list them."""
    for name, hint in table.items():
        assert name not in vars(cls), f"{cls.__name__} has a {name}"
        setattr(cls, name, Hint(name, hint))
    listed: Any = cls
    listed.__dir__ = _dir_without_hints


def _dir_without_hints(self: Any) -> list[str]:
    return [name for name in object.__dir__(self) if not isinstance(inspect.getattr_static(self, name, None), Hint)]


def missing(module: str, name: str, table: Mapping[str, str]) -> AttributeError:
    """The error for a name that a module does not have.

    Args:
        module: the name of the module.
        name: the name that was looked up.
        table: hints, by name.

    Raises:
        ImportError: in `from module import name`, which would drop the hint of an AttributeError.
    """
    if name not in table:
        return AttributeError(f"module {module!r} has no attribute {name!r}")
    caller = sys._getframe(2).f_code
    if caller.co_name == "_handle_fromlist" and "importlib" in caller.co_filename:
        raise ImportError(f"cannot import name {name!r} from {module!r}. {table[name]}", name=name)
    return AttributeError(f"module {module!r} has no attribute {name!r}. {table[name]}")


class _NoFunction(ModuleType):
    """A module with the name of a function of PyTorch."""

    def __call__(self, *arguments: Any, **options: Any) -> Never:
        raise TypeError(f"{self.__name__} is a module, not a function. {vars(self)['_hint_for_call']}")


def no_function(module: str, hint: str) -> None:
    """Let a call of a module raise an error with a hint."""
    called: Any = sys.modules[module]
    called._hint_for_call = hint
    called.__class__ = _NoFunction


def check_arguments(cls: type, arguments: tuple[Any, ...], options: Mapping[str, Any]) -> None:
    """Refuse keywords of PyTorch and Keras that a class does not have, with a hint.

    Raises:
        TypeError: there are such keywords; or there are arguments for a class without `__init__`.
    """
    made: Any = cls
    has_no_init = made.__init__ is object.__init__
    foreign = options.keys() & KEYWORDS.keys()
    if foreign:
        parameters = () if has_no_init else inspect.signature(made.__init__).parameters.values()
        unknown = sorted(foreign - {p.name for p in parameters})
        if unknown and not any(p.kind is p.VAR_KEYWORD for p in parameters):
            hints = "; ".join(f"{name}=: {KEYWORDS[name]}" for name in unknown)
            raise TypeError(f"{cls.__name__}() got an unexpected keyword argument {unknown[0]!r}. {hints}")
    if has_no_init and (arguments or options):  # object.__init__ ignores them if the class has a __new__
        raise TypeError(f"{cls.__name__}() takes no arguments")
