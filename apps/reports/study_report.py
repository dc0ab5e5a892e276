"""A study as pictures and one page: what was tried, what came out, what mattered."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from apps.reports.page import Picture, Section, Share, Table, page
from cluster.storage.files import write_whole
from tuning.history import History
from tuning.importance import importances

PAGE = "study.html"


def write_study(history: History, folder: Path) -> list[Path]:
    """Draw a study into a folder: a PNG a picture, and a page with all of them; return the paths."""
    pictures = study_pictures(history)
    paths = [folder / f"{name}.png" for name in pictures]
    for path, picture in zip(paths, pictures.values(), strict=True):
        write_whole(path, picture.png)
    write_whole(folder / PAGE, study_page(history, pictures).encode())
    return [*paths, folder / PAGE]


def study_pictures(history: History) -> dict[str, Picture]:
    """Return the pictures of a study by name; those that would be empty are left out."""
    from apps.reports.study_plots import front_plot, history_plot, parallel_plot, slices_plot

    found = {"history": Picture(png=history_plot(history), caption="Each trial's score, and the best so far.")}
    if (drawn := front_plot(history)) is not None:
        found["front"] = Picture(png=drawn, caption="Objectives against each other, and the Pareto front.")
    for model in history.spaces:
        if (drawn := parallel_plot(history, model)) is not None:
            found[f"parallel-{model}"] = Picture(png=drawn, caption=f"All parameters of {model} together.")
        if (drawn := slices_plot(history, model)) is not None:
            found[f"slices-{model}"] = Picture(png=drawn, caption=f"Each parameter of {model} against the score.")
    return found


def study_page(history: History, pictures: dict[str, Picture]) -> str:
    """Return the page."""
    best = history.best
    mattered = [
        asdict(each) | {"share": Share(each.share)} for each in importances(history.finished(), history.spaces)
    ]
    trials = [
        {
            "trial": each.number,
            "model": each.model,
            "status": each.status.value,
            "score": each.score,
            "seconds": each.duration_s,
            "error": each.error,
        }
        for _, each in sorted(history.records.items())
    ]
    parts: list[Table | Picture | str] = list(pictures.values())
    told = {} if best is None else {"trial": best.number, "model": best.model, "score": best.score, **best.params}
    sections = [
        Section(title="Best", parts=[Table.of("The best trial", told)]),
        Section(title="Pictures", parts=parts),
        Section(title="What mattered", parts=[Table(caption="Share of the score's variance", rows=mattered)]),
        Section(title="Trials", parts=[Table(caption="All trials", rows=trials, folded=True)]),
    ]
    return page(
        f"Study {history.name}", f"{len(history.records)} trials; {', '.join(history.objectives)}", sections
    )
