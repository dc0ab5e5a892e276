"""Pictures that nothing sticks out of, and a report that is one valid file."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import asdict, replace
from functools import cache
from html.parser import HTMLParser
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

from apps.reports.bars import MOST_BARS, factor_bars, information_bars
from apps.reports.drawing import plain, short
from apps.reports.figures import compared
from apps.reports.findings import coverage_finding, error_finding, factor_finding, fan_finding, of_target
from apps.reports.page import Picture, Section, Share, Table, page
from apps.reports.plots import coverage_by_step, errors_by_origin, forecast_fans
from apps.reports.report import VersionReport
from apps.reports.words import NAME_LETTERS
from cluster.errors import ConfigError
from training.core.candidate import Candidate
from training.core.panel import Panel
from training.core.splits import chronological_split
from training.data.generator import generate_emissions
from training.evaluation.backtest import Backtest, backtest
from training.evaluation.scorecard import Scorecard
from training.models import MODELS
from training.models.seasonal_naive import SeasonalNaive

CANDIDATE = Candidate(MODELS, "seasonal_naive")
NASTY = '<script>alert("&")</script>'
RUBBISH = NASTY + " $\\frac{1}{0$ \u6c37 and a name that goes on and on and on and on and on"
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


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of two targets, written once."""
    return report(why=("ridge won",)).write(tmp_path_factory.mktemp("reports") / "deep" / "report.html")


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


@cache
def other(sites: int, days: int, horizon: int) -> tuple[Panel, Backtest]:
    """Return emissions of sites, and their forecasts in the last part."""
    panel = generate_emissions(sites=sites, days=days, seed=0)[0]
    split = chronological_split(panel)
    model = SeasonalNaive(season=7).fit_panel(panel, horizon=horizon, split=split)
    return panel, backtest(model, panel, since=split.test_start)


def called(name: str) -> tuple[Panel, Backtest]:
    """Return the same with a series, a target and a unit that are called anything."""
    panel, test = other(1, 200, 7)
    panel = panel.for_target("scope1")
    column = replace(panel.schema.targets[0], name=name, unit=name[:20])
    frame = panel.frame.rename(columns={"scope1": name}).assign(series_id=name)
    test = replace(of_target(test, "scope1"), targets=(name,), ids=(name,) * len(test))
    return Panel(frame, replace(panel.schema, targets=(column,))), test


@pytest.mark.parametrize(
    "png",
    [
        lambda: forecast_fans(judged_test(), CANDIDATE.panel, "used"),
        lambda: errors_by_origin(judged_test(), "used", unit="kWh", naive_mae=5.0),
        lambda: coverage_by_step(judged_test(), "used", unit="kWh"),
        lambda: factor_bars({"a driver whose name goes on and on and on": 0.9, "b": -0.1}, title="What moved it"),
        lambda: factor_bars({f"driver {i}": 0.01 * (-1) ** i for i in range(MOST_BARS + 9)}, title="Many"),
        lambda: factor_bars({RUBBISH: 0.9, f"{RUBBISH}!": -0.1}, title=RUBBISH),
        lambda: factor_bars({"nothing": 0.0}, title="Nothing"),
        lambda: information_bars({RUBBISH: 0.4, "b": 0.0}, {RUBBISH: 0.1, "b": -1.0}, title=RUBBISH),
        lambda: forecast_fans(called(RUBBISH)[1], called(RUBBISH)[0], RUBBISH),
        lambda: errors_by_origin(called(RUBBISH)[1], RUBBISH, unit=RUBBISH),
        lambda: coverage_by_step(called(RUBBISH)[1], RUBBISH, unit=RUBBISH, step="day"),
        lambda: forecast_fans(other(2, 120, 1)[1], other(2, 120, 1)[0], "scope2"),
        lambda: coverage_by_step(other(2, 120, 1)[1], "scope2", unit="tCO2e"),
        lambda: coverage_by_step(other(1, 1500, 96)[1], "scope3", unit="tCO2e"),
        lambda: forecast_fans(other(12, 200, 7)[1], other(12, 200, 7)[0], "scope3"),
        lambda: errors_by_origin(other(1, 200, 7)[1][np.arange(1)], "scope3", unit="tCO2e", naive_mae=float("nan")),
    ],
    ids=[
        "fans",
        "errors",
        "coverage",
        "two bars",
        "many bars",
        "bars of rubbish",
        "a bar of nothing",
        "features of rubbish",
        "fans of rubbish",
        "errors of rubbish",
        "coverage of rubbish",
        "fans of one step",
        "coverage of one step",
        "coverage of 96 steps",
        "fans of many series",
        "errors of one cut-off",
    ],
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


def test_the_report_is_one_valid_file_without_script_or_link(written: Path) -> None:
    text = written.read_text()
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
    assert [p.name for p in written.parent.iterdir()] == ["report.html"]


def test_the_report_tells_the_figures_the_data_and_the_lineage(written: Path) -> None:
    text = written.read_text()
    figures = Scorecard.of(judged_test()).targets["used"]
    shares = (f"{100 * figures.wape:.1f} %", f"{100 * figures.coverage_95:.1f} %", f"{figures.mae:.4g}")
    for told in (*shares, "Passed: well enough", "ridge won", "abc"):
        assert told in text
    assert str(CANDIDATE.split.test_start)[:16] in text


def test_without_factors_there_is_no_section_of_them(written: Path) -> None:
    assert "<h2>Key factors</h2>" in written.read_text()
    assert "<h2>Key factors</h2>" not in report(shares={}, test=of_target(judged_test(), "used")).html()


def test_all_text_is_escaped() -> None:
    sections = [Section(title=NASTY, parts=[NASTY, Table.of(NASTY, {NASTY: NASTY}), Table(caption=NASTY, rows=[])])]
    text = page(NASTY, NASTY, sections)
    assert "<script" not in text
    assert text.count("&lt;script&gt;") == 9


def test_numbers_are_rounded_and_unknown_ones_dashes() -> None:
    text = Table(caption="c", rows=[{"a": 0.123456, "b": 12345, "c": None, "d": True}]).html()
    for shown in ("0.1235", "12,345", "<td>-</td>", "<td>True</td>"):
        assert shown in text


def test_shares_are_told_in_percent_and_headers_stand_above_their_numbers() -> None:
    text = Table(caption="c", rows=[{"a": Share(0.9537), "b": "x"}, {"a": None, "b": "y"}]).html()
    assert '<td class="number">95.4 %</td>' in text
    assert '<th scope="col" class="number">a</th><th scope="col">b</th>' in text


def test_a_folded_table_opens_and_a_picture_says_what_it_shows() -> None:
    text = Table(caption=NASTY, rows=[{"a": 1}], folded=True).html()
    assert text.startswith("<details><summary>&lt;script&gt;")
    assert "<caption>" not in text
    shown = Picture(png=b"", caption="below", says='it "fell"').html()
    assert 'alt="it &quot;fell&quot;"' in shown
    assert "<figcaption>below</figcaption>" in shown


def test_titles_say_what_is_found() -> None:
    test = judged_test()
    errors = np.abs(test.point - test.actual)[..., test.targets.index("used")]
    median = np.median(errors.mean(axis=1))
    ahead = f"{test.point.shape[1]} hours ahead"
    said = fan_finding(test, "used", unit="kWh", frequency="h")
    assert said == f"Half of the forecasts of used, {ahead}, are off by {median:.3g} kWh or less"
    mean = errors.mean()
    told = f"used: the mean error is {mean:.3g} kWh"
    assert error_finding(test, "used", unit="kWh", naive_mae=None) == told
    assert error_finding(test, "used", unit="kWh", naive_mae=mean) == f"{told}, the same as seasonal naive's"
    half = error_finding(test, "used", unit="kWh", naive_mae=2 * mean)
    assert half == f"{told}, 50 % below seasonal naive's {2 * mean:.3g}"
    assert "100 % above" in error_finding(test, "used", unit="kWh", naive_mae=mean / 2)


def test_an_interval_is_called_narrow_wide_or_right() -> None:
    test = judged_test()
    never, always = np.full_like(test.actual, 1e12), test.actual
    assert "holds 0.0 % of the truth: too narrow" in coverage_finding(replace(test, actual=never), "used")
    wide = np.stack([always - 1, always, always + 1], axis=-1)[..., [0, 0, 1, 2, 2]]
    assert "100.0 % of the truth: wider than it need be" in coverage_finding(replace(test, quantiles=wide), "used")


def test_one_target_of_several_is_told_alone() -> None:
    """Coverage over time is the drawn target's, not the mean of all: here one is always covered and one never."""
    panel, test = other(2, 120, 7)
    spoiled = test.actual.copy()
    spoiled[..., test.targets.index("scope2")] = -1e9
    alone = errors_by_origin(replace(test, actual=spoiled), "scope1", unit="tCO2e", naive_mae=3.0)
    assert alone == errors_by_origin(test, "scope1", unit="tCO2e", naive_mae=3.0)
    assert panel.schema.target_names == test.targets


def test_the_largest_factor_is_named_with_its_way() -> None:
    shares = {"load": -0.7, "calendar": 0.3}
    assert (
        factor_finding(shares, target="NOX", asked="now")
        == "load lowered the forecast of NOX most (70 %), asked now"
    )
    assert factor_finding({"load": 0.0}, target="NOX", asked="now").startswith("Nothing moved the forecast of NOX")


def test_text_is_drawn_as_it_is() -> None:
    assert plain("a $x$\nb \u6c37") == r"a \$x\$ b ?"
    assert len(short("n" * 99)) == NAME_LETTERS - 1
    assert short("long" * 20 + "1") != short("long" * 20 + "2")


def test_better_is_nearer_to_what_is_best() -> None:
    figures = Scorecard.of(judged_test()).targets["used"]
    worse = replace(figures, accuracy=figures.accuracy - 0.1, mae=figures.mae + 1, bias=-9e9, width_90=0.0)
    rows = {row["figure"]: row["better"] for row in compared(worse, figures, unit="kWh")}
    assert len(rows) == len(asdict(figures))
    assert rows["accuracy, 1 - WAPE"] == rows["mean absolute error (kWh)"] == rows["bias (kWh)"] == "seasonal naive"
    assert rows["width of the 90 % interval (kWh)"] == rows["R2"] == ""


def test_a_report_of_three_targets_called_rubbish_is_small_and_whole() -> None:
    panel, test = other(3, 200, 7)
    card = Scorecard.of(test)
    told = {RUBBISH: {RUBBISH: 1.0}}
    split = chronological_split(panel)
    text = report(name=RUBBISH, panel=panel, split=split, test=test, card=card, baseline=card, shares=told).html()
    parser = Balanced()
    parser.feed(text)
    assert parser.open == []
    assert "script" not in parser.seen
    assert len(parser.links) == 3 * 3 + 1
    assert len(text) < 1_000_000
