"""The libraries that are compared, and whether they can run here."""

from __future__ import annotations

import os
import platform
import shutil
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any

# How the name of a contender begins, and the module that it needs. The order is that of the columns.
LIBRARIES = {
    "minigrad compiled": "minigrad",
    "minigrad": "minigrad",
    "PyTorch": "torch",
    "torch.compile": "torch",
    "jax.jit": "jax",
    "autograd": "autograd",
    "MyGrad": "mygrad",
    "micrograd": "micrograd",
    "tinygrad": "tinygrad",
    "NumPy": "numpy",
    "Python": "sys",
}
PACKAGES = ["numpy", "numba", "torch", "jax", "autograd", "mygrad", "micrograd", "tinygrad"]


def library(contender: str) -> str:
    """The beginning of the contender's name that stands in LIBRARIES."""
    return next(name for name in LIBRARIES if contender.startswith(name))


@cache
def missing(contender: str) -> str | None:
    """Why the contender cannot take part here, or None."""
    name = library(contender)
    if find_spec(LIBRARIES[name]) is None:
        return "not installed"
    if name == "minigrad compiled":
        import minigrad as mg

        if not hasattr(mg, "compile"):
            return "this minigrad has no compiler"
        if contender.endswith("numba") and find_spec("numba") is None:
            return "numba is not installed"
    if name == "torch.compile" and not any(map(shutil.which, ("g++", "c++", "clang++"))):
        return "it needs a C++ compiler"
    if name == "tinygrad" and not shutil.which("clang"):
        return "it needs clang"
    return None


def machine() -> dict[str, Any]:
    """What the figures depend on besides the code."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"python": platform.python_version(), "versions": versions, "cores": cores, "processor": processor()}


def processor() -> str:
    """The name of the processor, as Linux tells it, or the architecture."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.machine()
