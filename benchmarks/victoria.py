"""Victoria's electricity demand over the next 48 half-hours, temperature and holidays known, as WAPE.

Train on the first 70 %, weigh on the next 15 %, test on every origin of the last 15 %: July to December 2014. The
temperature ahead is the measured one, a perfect weather forecast. Every choice below was made on the validation
part; this command alone looks at the test part. Trees read the local clock: Melbourne's, in and out of daylight
saving.

The families of statsforecast (ARIMA, exponential smoothing, theta) look back on a week or two of half-hours with a
season of a day, and are judged on the same origins, all of them. ARIMA is told temperature and holidays too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.families import Part, judge, rounded
from benchmarks.measure import Benchmark, Pair
from training.data.bundled import load_sample

HORIZON, DAY, WEEK = 48, 48, 336
REACH, AIM, LAST_WEEK_OF_OTHERS = 0.030, 0.020, 0.058
STATSFORECAST = ("auto_arima", "auto_ets", "theta")

KNOWN = ("temperature_c", "holiday")
HOUR = ("calendar_hour_sin", "calendar_hour_cos")
CLOCK = ("calendar_hour", *HOUR, "calendar_weekday", "calendar_month", "calendar_day_of_month")
YEAR = ("calendar_day_of_year",)
FEATURES: tuple[Part, ...] = (("calendar", {"zone": "Australia/Melbourne", "year": True}),)
TREES: Mapping[str, Any] = {
    "strategy": "pooled",
    "window": WEEK,
    "seasons": (DAY, WEEK),
    "rounds": 600,
    "leaves": 63,
}
LONG: Mapping[str, Any] = {"window": 2 * WEEK, "anchor": "quadratic", "half_life": 672.0, "learning_rate": 0.1}
EACH: Mapping[str, Any] = {"strategy": "direct", "window": 2 * DAY + 1, "rounds": 250, "column_sample": 0.3}
"""A model a step is best at the first steps, one model of all steps at the last: together they beat either."""
MEMBERS: dict[str, Part] = {
    "last_week": ("seasonal_naive", {"season": WEEK}),
    "auto_arima": ("auto_arima", {"season": DAY, "ahead": KNOWN}),
    "auto_ets": ("auto_ets", {"season": DAY}),
    "theta": ("theta", {"season": DAY, "window": WEEK}),
    "ridge": ("ridge", {"window": WEEK, "ahead": KNOWN}),
    "lightgbm": (
        "lightgbm",
        {**TREES, "ahead": (*KNOWN, *CLOCK, *YEAR), "learning_rate": 0.1, "most_rows": 400_000},
    ),
    "lightgbm_linear": (
        "lightgbm",
        {**TREES, "ahead": (*KNOWN, *CLOCK), "learning_rate": 0.08, "anchor": "linear", "half_life": 336.0},
    ),
    "lightgbm_quadratic": ("lightgbm", {**TREES, **LONG, "ahead": (*KNOWN, *HOUR, "calendar_weekend")}),
    "lightgbm_direct": (
        "lightgbm",
        {**EACH, "ahead": (*KNOWN, *HOUR), "learning_rate": 0.06, "patience": 20, "most_rows": 13_000},
    ),
}
APART = ("last_week", *STATSFORECAST)


def pair(seed: int, baseline_first: bool) -> Pair:  # noqa: ARG001 - errors do not depend on the order
    """Fit and judge every family; the baseline is the error to reach."""
    found = judge(
        load_sample("vic_electricity").with_roles(known=KNOWN),
        HORIZON,
        MEMBERS,
        features=FEATURES,
        seed=seed,
        apart=APART,
        every=4,
        by_step=True,
    )
    error, theirs = found.wape["ensemble"], {name: found.wape[name] for name in STATSFORECAST}
    notes = {
        "wape": rounded(found.wape),
        "below_each_of_statsforecast": error < min(theirs.values()),
        "aim_reached": error <= AIM,
        "weights": found.weights,
        "fit_s": found.fit_s,
        "origins": found.origins,
        "others": {"last_week": LAST_WEEK_OF_OTHERS},
    }
    return Pair(seed=seed, baseline=REACH, ours={"ensemble": error, **theirs}, notes=notes)


BENCHMARK = Benchmark(
    name="victoria",
    question="the ensemble's WAPE over the next 48 half-hours of Victoria's demand over the WAPE to reach, .030",
    goal=1.0,
    pair=pair,
)
