"""The command line: `minigrad demo`, or `python -m minigrad demo`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Any

from minigrad.util.version import installed

DEFAULT = "(default: %(default)s)"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: as on the command line, without the program's name; those of this process by default.

    Returns:
        The exit status: 0 on success, 1 if a check fails.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # σ² on a terminal that has no σ
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.command is None:
        parser.print_help()
        return 0
    command: argparse.ArgumentParser = options.parser
    try:
        return 0 if options.run(options) else 1
    except KeyboardInterrupt:
        return 130
    except ImportError as error:
        command.error(f'{error}: pip install "minigrad[all]"')
    except (ValueError, TypeError, ArithmeticError, OSError) as error:
        command.error(str(error))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="minigrad", description="See and prove your gradients.")
    parser.add_argument("--version", action="version", version=f"minigrad {installed()}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    _add_demo(commands)
    _add_check(commands)
    _add_derive(commands)
    _add_notes(commands)
    return parser


def _add_demo(commands: Any) -> None:
    demo = commands.add_parser(
        "demo",
        help="train a batch-norm network on digits, check its gradients, draw them",
        description="Train a batch-norm network on handwritten digits, check every gradient of batch norm, draw them.",
    )
    demo.set_defaults(run=_demo, parser=demo)
    demo.add_argument(
        "--out", default="minigrad-demo", metavar="DIR", help=f"the folder for pictures and the report {DEFAULT}"
    )
    demo.add_argument("--epochs", type=int, default=15, metavar="N", help=f"passes over the digits {DEFAULT}")
    demo.add_argument("--seed", type=seed, default=0, metavar="N", help=f"the seed of all random numbers {DEFAULT}")


def _add_check(commands: Any) -> None:
    check = commands.add_parser(
        "check",
        help="check backward functions and derivations in files and notebooks, line by line",
        description="Check every pair of functions such as relu_forward and relu_backward, every class with the "
        "methods forward and backward, and every minigrad.verify.Derivation in a file, or in the files of a folder, "
        "without subfolders called wrong. The exit status is 1 if a line is wrong.",
    )
    check.set_defaults(run=_check, parser=check)
    check.add_argument("path", help="a Python file, a notebook, or a folder")
    check.add_argument(
        "more",
        nargs="*",
        metavar="name",
        help="only this one, by the name of its variable, a function, or a class; or further files (.py, .ipynb) and "
        "folders (folder/)",
    )
    check.add_argument(
        "--input", action="append", default=[], metavar="X=N,D", help="the shape of an input; integers as y=N<C"
    )
    check.add_argument(
        "--name", action="append", default=[], metavar="DTMP=XC", dest="names",
        help="the value whose gradient a name is, if it does not say so",
    )  # fmt: skip
    check.add_argument(
        "--weight", action="append", default=[], metavar="X=2", help="the weight of a line for the points in the JSON"
    )
    check.add_argument("--json", action="store_true", help="print JSON")
    check.add_argument("--html", metavar="FILE", help="write one page with lines, formulas, verdicts and graphs")
    check.add_argument("--seed", type=seed, default=0, metavar="N", help=f"the seed of all random numbers {DEFAULT}")


def _add_derive(commands: Any) -> None:
    derive = commands.add_parser(
        "derive",
        help="write the backward pass of a function in a file, proven",
        description="Write the backward pass of a function: lines of NumPy in the names of the function, simplified "
        "and proven. Shapes of inputs are found in the code and its docstring, or given with --input.",
    )
    derive.set_defaults(run=_derive, parser=derive)
    derive.add_argument("target", metavar="FILE:FUNCTION", help="a Python file or notebook, and a function in it")
    derive.add_argument(
        "--input", action="append", default=[], metavar="X=N,D", help="the shape of an input; integers as y=N<C"
    )
    derive.add_argument("--order", type=int, default=1, help=f"2 for products with the Hessian {DEFAULT}")
    derive.add_argument("--all-steps", action="store_true", help="a line for every named value")
    derive.add_argument("--assigned", action="store_true", help="names for all values that the function assigns, too")
    shown = derive.add_mutually_exclusive_group()
    shown.add_argument("--source", action="store_true", help="print a function that needs only NumPy")
    shown.add_argument("--latex", action="store_true", help="print the steps as LaTeX, with the rules that they use")
    shown.add_argument("--markdown", action="store_true", help="print the steps as Markdown")


def _add_notes(commands: Any) -> None:
    notes = commands.add_parser(
        "notes",
        help="run the experiments of the course notes, and write their gallery",
        description="Run the experiments of the course notes, compare their claims with the measured numbers, and "
        "write one page with the pictures. The exit status is 1 if a claim fails.",
    )
    notes.set_defaults(run=_notes, parser=notes)
    notes.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="NAME",
        help="only this experiment, such as batch_norm; may be repeated. An unknown name lists them all",
    )
    notes.add_argument("--quick", action="store_true", help="fewer seeds and steps: under a minute")
    notes.add_argument(
        "--out", default="minigrad-notes", metavar="DIR", help=f"the folder for the page and pictures {DEFAULT}"
    )


def seed(text: str) -> int:
    """The seed in an argument of the command line."""
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f"{number}: a seed must not be negative")
    return number


def _demo(options: argparse.Namespace) -> bool:
    from minigrad.app import demo

    return demo.run(options.out, options.epochs, options.seed)


def _check(options: argparse.Namespace) -> bool:
    from minigrad.app import check

    paths = [p for p in options.more if p.endswith((".py", ".ipynb")) or os.path.basename(p) != p]
    names = [name for name in options.more if name not in paths]
    if len(names) > 1:
        raise ValueError(
            f"{', '.join(map(repr, names))}: give the name of one derivation; other arguments must be paths"
        )
    return check.run(
        [options.path, *paths], names[0] if names else None, options.json, options.html, options.seed,
        inputs=_pairs(options.input, "--input"), names=_pairs(options.names, "--name"),
        weights={k: float(v) for k, v in _pairs(options.weight, "--weight").items()},
    )  # fmt: skip


def _derive(options: argparse.Namespace) -> bool:
    from minigrad.app import derive

    shown = next((way for way in ("source", "latex", "markdown") if getattr(options, way)), "text")
    inputs = _pairs(options.input, "--input")
    return derive.run(options.target, inputs, options.order, options.all_steps, options.assigned, shown)


def _pairs(texts: Sequence[str], option: str) -> dict[str, str]:
    """The arguments NAME=VALUE of an option that may be repeated."""
    pairs = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name or not value:
            raise ValueError(f"{option} {text}: write {option} NAME=VALUE")
        pairs[name] = value
    return pairs


def _notes(options: argparse.Namespace) -> bool:
    from minigrad.app.notes import collection

    return collection.run(options.only, options.quick, options.out)
