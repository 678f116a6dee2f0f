"""The command line: `minigrad demo`, also `python -m minigrad demo`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from minigrad.version import installed


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: as on the command line, without the program's name; those of this process if not given.

    Returns:
        The exit status: 0 if all is well, 1 if something that was checked does not hold.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # σ² on a terminal that has no σ
    parser = _parser()
    given = parser.parse_args(arguments)
    if given.command == "demo":
        return _demo(parser, given)
    if given.command == "check":
        return _check(parser, given)
    if given.command == "notes":
        return _notes(parser, given)
    parser.print_help()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="minigrad", description="See and prove your gradients.")
    parser.add_argument("--version", action="version", version=f"minigrad {installed()}")
    commands = parser.add_subparsers(dest="command", metavar="command")
    demo = commands.add_parser(
        "demo",
        help="train a batch-norm network on digits, check its gradients, draw them",
        description="Train a batch-norm network on handwritten digits, check every gradient of batch norm, draw them.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    demo.add_argument("--out", default="minigrad-demo", metavar="DIR", help="the folder for pictures and the report")
    demo.add_argument("--epochs", type=int, default=15, metavar="N", help="how often to go through the digits")
    demo.add_argument("--seed", type=int, default=0, metavar="N", help="of everything drawn at random")
    check = commands.add_parser(
        "check",
        help="check the derivations in Python files, line by line",
        description="Check every minigrad.verify.Derivation in the files. The exit status is 1 if a line is wrong.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    check.add_argument("path", help="a Python file, or a folder of them")
    check.add_argument("name", nargs="?", help="the derivation to check, by its variable or forward function")
    check.add_argument("--json", action="store_true", help="print JSON")
    check.add_argument("--html", metavar="OUT", help="write one page with lines, formulas, verdicts and graphs")
    check.add_argument("--seed", type=int, default=0, metavar="N", help="of everything drawn at random")
    notes = commands.add_parser(
        "notes",
        help="run the experiments of the course notes, and write their gallery",
        description="Run the experiments of the course notes, hold their claims against the measured numbers, and "
        "write one page with the pictures. The exit status is 1 if a claim fails.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    notes.add_argument("--only", action="append", default=[], metavar="NAME", help="this experiment; may be repeated")
    notes.add_argument("--quick", action="store_true", help="fewer seeds and steps: under a minute")
    notes.add_argument("--output", default="minigrad-notes", metavar="DIR", help="the folder for page and pictures")
    return parser


def _check(parser: argparse.ArgumentParser, given: argparse.Namespace) -> int:
    from minigrad import check

    try:
        return 0 if check.run([given.path], given.name, given.json, given.html, given.seed) else 1
    except KeyboardInterrupt:
        return 130
    except (ValueError, TypeError, ArithmeticError, OSError) as error:
        parser.error(str(error))


def _demo(parser: argparse.ArgumentParser, given: argparse.Namespace) -> int:
    from minigrad import demo

    try:
        return 0 if demo.run(given.out, given.epochs, given.seed) else 1
    except KeyboardInterrupt:
        return 130
    except (ValueError, OSError) as error:
        parser.error(str(error))


def _notes(parser: argparse.ArgumentParser, given: argparse.Namespace) -> int:
    from minigrad.notes import collection

    try:
        return 0 if collection.run(given.only, given.quick, given.output) else 1
    except KeyboardInterrupt:
        return 130
    except ImportError as error:
        parser.error(f"{error}: pip install 'minigrad[plot,data]'")
    except (ValueError, OSError) as error:
        parser.error(str(error))
