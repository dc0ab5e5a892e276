"""Pictures that nothing sticks out of, and a report that is one valid file."""

from __future__ import annotations

import base64
import io
import re
from functools import cache
from html.parser import HTMLParser
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

from apps.reports.page import Section, Table, page
from apps.reports.plots import MOST_BARS, coverage_by_step, errors_by_origin, factor_bars, forecast_fans
from apps.reports.report import VersionReport
from cluster.errors import ConfigError
from training.core.candidate import Candidate
from training.evaluation.backtest import Backtest, backtest
from training.evaluation.scorecard import Scorecard
from training.models import MODELS

CANDIDATE = Candidate(MODELS, "seasonal_naive")
NASTY = '<script>alert("&")</script>'
VOID = {"meta", "img"}


@cache
def judged_test() -> Backtest:
    return backtest(CANDIDATE.model, CANDIDATE.panel, since=CANDIDATE.split.test_start)


def report(**changed: object) -> VersionReport:
    card = Scorecard.of(judged_test())
    facts: dict[str, object] = {
        "name": "exam-model",
        "panel": CANDIDATE.panel,
        "split": CANDIDATE.split,
        "test": judged_test(),
        "card": card,
        "baseline": card,
        "verdict": "passed: well enough",
        "lineage": {"seed": 3, "code": "abc"},
        "made_at": "2026-01-01 00:00:00+00:00",
        "shares": {"What moved it": {"load": 0.7, "calendar": -0.3}},
    }
    return VersionReport(**facts | changed)  # type: ignore[arg-type]


class Balanced(HTMLParser):
    """Insists that each element is closed in order, and gathers what may not be there."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        self.links += [value or "" for name, value in attrs if name in {"src", "href", "srcset", "action"}]
        assert not any(name.startswith("on") for name, _ in attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def pixels(png: bytes) -> np.ndarray[tuple[int, int, int], np.dtype[np.float32]]:
    image: np.ndarray[tuple[int, int, int], np.dtype[np.float32]] = matplotlib.image.imread(io.BytesIO(png), "png")
    return image[..., :3]


@pytest.mark.parametrize(
    "png",
    [
        lambda: forecast_fans(judged_test(), CANDIDATE.panel, "used"),
        lambda: errors_by_origin(judged_test(), "used", unit="kWh", naive_mae=5.0),
        lambda: coverage_by_step(judged_test(), "used", unit="kWh"),
        lambda: factor_bars({"a driver whose name goes on and on and on": 0.9, "b": -0.1}, title="What moved it"),
        lambda: factor_bars({f"driver {i}": 0.01 * (-1) ** i for i in range(MOST_BARS + 9)}, title="Many"),
    ],
    ids=["fans", "errors", "coverage", "two bars", "many bars"],
)
def test_a_picture_has_ink_and_none_of_it_at_the_border(png: object) -> None:
    image = pixels(png())  # type: ignore[operator]
    assert (image < 0.5).any()
    # A label that is clipped touches the border; titles begin a hundredth of the width from it.
    border = [image[0], image[-1], image[:, 0], image[:, -1]]
    assert all((edge > 0.98).all() for edge in border)


def test_pictures_are_the_same_again() -> None:
    first, again = (coverage_by_step(judged_test(), "used", unit="kWh") for _ in range(2))
    assert first == again


def test_factors_must_be_numbers() -> None:
    for wrong in ({}, {"a": float("nan")}):
        with pytest.raises(ConfigError, match="factor bars"):
            factor_bars(wrong, title="t")


def test_the_report_is_one_valid_file_without_script_or_link(tmp_path: Path) -> None:
    path = report().write(tmp_path / "deep" / "report.html")
    text = path.read_text()
    parser = Balanced()
    parser.feed(text)
    parser.close()
    assert parser.open == []
    assert text.startswith("<!DOCTYPE html>")
    assert not {"script", "link", "iframe", "object", "a"} & set(parser.seen)
    assert len(parser.links) == 2 * 3 + 1  # two targets, three pictures each, and the factors
    for link in parser.links:
        assert base64.b64decode(re.sub("^data:image/png;base64,", "", link))[:8] == b"\x89PNG\r\n\x1a\n"
    assert "http" not in re.sub('base64,[^"]*', "", text)
    assert [p.name for p in path.parent.iterdir()] == ["report.html"]


def test_the_report_tells_the_figures_the_data_and_the_lineage() -> None:
    text = report(why=("ridge won",)).html()
    figures = Scorecard.of(judged_test()).targets["used"]
    for told in (f"{figures.wape:.4g}", f"{figures.coverage_95:.4g}", "passed: well enough", "ridge won", "abc"):
        assert told in text
    assert str(CANDIDATE.split.test_start)[:19] in text


def test_without_factors_there_is_no_section_of_them() -> None:
    assert "Key factors" in report().html()
    assert "Key factors" not in report(shares={}).html()


def test_all_text_is_escaped() -> None:
    sections = [Section(title=NASTY, parts=[NASTY, Table.of(NASTY, {NASTY: NASTY}), Table(caption=NASTY, rows=[])])]
    text = page(NASTY, NASTY, sections)
    assert "<script" not in text
    assert text.count("&lt;script&gt;") == 9


def test_numbers_are_rounded_and_unknown_ones_dashes() -> None:
    text = Table(caption="c", rows=[{"a": 0.123456, "b": 12345, "c": None, "d": True}]).html()
    for shown in ("0.1235", "12,345", "<td>-</td>", "<td>True</td>"):
        assert shown in text
