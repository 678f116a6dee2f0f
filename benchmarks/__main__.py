"""`python -m benchmarks [suite ...]`: measure minigrad and its peers, and write the tables of docs/performance.md."""

from __future__ import annotations

import argparse

from benchmarks import report
from benchmarks.runner import QUICK, Effort, run_suite
from benchmarks.suites import SUITES


def main() -> None:
    """Parse the command line, and run the suites."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="suites:\n" + "\n".join(f"  {name:<15} {title}" for name, title in SUITES.items()),
    )
    parser.add_argument("suites", nargs="*", metavar="suite", help="which to run; all if none is named")
    parser.add_argument("--quick", action="store_true", help="few repetitions, no waiting; nothing is written")
    options = parser.parse_args()
    if unknown := set(options.suites) - set(SUITES):
        parser.error(f"there is no suite {', '.join(sorted(unknown))}; there are {', '.join(SUITES)}")
    for suite in options.suites or SUITES:
        print(f"\n{SUITES[suite]}: time, ratio to the reference, and its range over the rounds")
        result = run_suite(f"benchmarks.suites.{suite}", QUICK if options.quick else Effort(), tell)
        print(f"{result['not quiet']} of {result['batches']} batches without quiet cores, {result['seconds']} s")
        if not options.quick:
            report.write(report.merge({suite: result}))


def tell(row: dict[str, object]) -> None:
    """Print a row as soon as it is there."""
    print(report.in_words(row), flush=True)


if __name__ == "__main__":
    main()
