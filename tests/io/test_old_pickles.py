"""Pickles of version 0.1.0 load, and compute what they did there: modules, optimizers and schedules."""

import lzma
import pickle
import subprocess
import sys
import warnings
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from pickled_cases import MODULES, results, trained

MODULE_PICKLES, RUNS, NAMES = pickle.loads(
    lzma.decompress((Path(__file__).parent / "data/pickles_0_1_0.xz").read_bytes())
)

# Functions whose files exist without them. They are in no attribute of what users pickle
MOVED = {
    ("minigrad.ops.elementwise", "allclose"),
    ("minigrad.ops.linalg", "pinv"),
    ("minigrad.ops.linalg", "trace"),
    ("minigrad.ops.reduction", "cumulative_prod"),
    ("minigrad.ops.reduction", "cumulative_sum"),
    ("minigrad.ops.shape", "pad"),
}


def same(arrays, expected):
    assert [x.shape for x in arrays] == [x.shape for x in expected]
    for x, y in zip(arrays, expected, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-6)


def test_the_table_is_complete():
    assert MODULE_PICKLES.keys() == MODULES.keys()


@pytest.mark.parametrize("name", MODULES)
def test_modules(name):
    pickled, expected = MODULE_PICKLES[name]
    make, inputs = MODULES[name]
    module = pickle.loads(pickled)
    for (_, old), (_, new) in zip(module.named_modules(), make().named_modules(), strict=True):
        assert type(old) is type(new)
        assert vars(old).keys() == vars(new).keys()
    again = pickle.loads(pickle.dumps(module))
    same(results(module, inputs), expected)
    same(results(again, inputs), expected)


@pytest.mark.parametrize(("name", "schedule"), RUNS)
def test_optimizers_and_schedules(name, schedule):
    pickled, expected = RUNS[name, schedule]
    parts = pickle.loads(pickled)
    again = pickle.loads(pickle.dumps(parts))
    same(trained(parts), expected)
    same(trained(again), expected)


def test_public_classes_and_functions():
    missing = []
    for module, name, package, public_name in NAMES:
        if public_name not in getattr(import_module(package), "__all__", ()):
            continue
        with warnings.catch_warnings(action="ignore"):
            try:
                value = getattr(import_module(module), name)
            except (ImportError, AttributeError):
                missing.append((module, name))
                continue
        assert value is getattr(import_module(package), public_name)
    assert set(missing) == MOVED


def test_other_names_are_not_found():
    with pytest.raises(
        AttributeError, match=r"minigrad.nn.layers of version 0.1.0 is gone, and nothing has its 'Dense'"
    ):
        import_module("minigrad.nn.layers").Dense  # noqa: B018
    with pytest.raises(ModuleNotFoundError):
        import_module("minigrad.nn.layer")


def test_nothing_is_imported_before_it_is_asked_for():
    code = (
        "import sys, pickle, minigrad; "
        "assert 'minigrad.nn' not in sys.modules; "
        f"print(pickle.loads({MODULE_PICKLES['Linear'][0]!r}))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "Linear(in_features=4, out_features=2)\n"
