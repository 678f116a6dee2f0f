"""The folder of the experiments, their order in the notes, and the command that runs them."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path

from minigrad.app.notes.experiment import CHAPTERS, Experiment, Outcome
from minigrad.app.source_files import import_file


def folder() -> Path:
    """The folder of the experiments: inside the installed package, or `examples/notes` in a checkout.

    Raises:
        ValueError: neither folder exists.
    """
    package = Path(__file__).parent
    places = [package / "experiments", package.parents[2] / "examples" / "notes"]
    for place in places:
        if place.is_dir():
            return place
    raise ValueError(f"the experiments are neither in {places[0]} nor in {places[1]}; is the installation complete?")


def experiments(names: Sequence[str] = ()) -> list[Experiment]:
    """The experiments in the order of the notes.

    Args:
        names: of the experiments; all if empty.

    Raises:
        ValueError: there is no experiment of this name; the message suggests the most similar one.
    """
    place = {name: k for k, name in enumerate(name for chapter in CHAPTERS.values() for name in chapter)}
    files = sorted(folder().glob("*.py"), key=lambda path: (place.get(path.stem, len(place)), path.stem))
    by_name = {path.stem: path for path in files}
    for name in names:
        if name not in by_name:
            near = "".join(f"; did you mean {n!r}?" for n in difflib.get_close_matches(name, by_name, n=1)) or "."
            raise ValueError(f"unknown experiment {name!r}{near} There are {', '.join(by_name)}")
    return [import_file(path).experiment for name, path in by_name.items() if not names or name in names]


def run(names: Sequence[str], quick: bool, out: str | Path) -> bool:
    """`minigrad notes`: run experiments, print the claims, and write the pictures and the page that shows them.

    Args:
        names: of the experiments; all if empty.
        quick: run their quick form.
        out: the folder for the page, `notes.html`, and the pictures. It is created if missing.

    Returns:
        Whether all claims hold.

    Raises:
        ValueError: there is no experiment of this name.
        ImportError: scikit-learn or matplotlib is not installed.
        OSError: the folder cannot be created or written to.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
    from rich.text import Text

    from minigrad.app.notes import gallery

    selected, folder = experiments(names), Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    console, outcomes, pictures = Console(highlight=False, soft_wrap=True), list[Outcome](), dict[str, Path]()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("seeds"))
    with Progress(*columns, TimeElapsedColumn(), console=console, transient=True) as progress:
        bar = progress.add_task("", total=sum(experiment.seeds[quick] for experiment in selected))
        for experiment in selected:
            progress.update(bar, description=experiment.name)
            outcome = experiment.run(quick, lambda: progress.advance(bar))
            outcomes.append(outcome)
            pictures[experiment.name] = outcome.save(folder)
            console.print(Text(str(outcome), style="" if outcome.ok else "red"))
    path = folder / "notes.html"
    path.write_text(gallery.page(outcomes, pictures), encoding="utf-8")
    failed = [outcome.experiment.name for outcome in outcomes if not outcome.ok]
    verdict = f"claims fail in {', '.join(failed)}" if failed else "all claims hold"
    console.print(Text(f"{verdict}, {sum(o.seconds for o in outcomes):.0f} s; written: {path}", style="bold"))
    return not failed
