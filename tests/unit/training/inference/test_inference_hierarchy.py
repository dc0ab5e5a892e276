"""Hierarchies: names and sums, the panel of nodes, faults."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from cluster.errors import ConfigError, DataError, UnknownNameError
from training.core.panel import Panel
from training.core.prediction import Prediction
from training.core.schema import Column, Schema
from training.core.validation import ID, TIME
from training.inference.hierarchy import TOTAL, Hierarchy

SCHEMA = Schema(
    name="two",
    frequency="D",
    targets=(Column(name="scope1", unit="tCO2e"), Column(name="scope2", unit="tCO2e")),
    covariates=(Column(name="made", low=0, high=100, role="known"), Column(name="warmth", low=-50, high=50)),
    season_length=7,
)


def site(name: str, first: str, days: int, level: float) -> pd.DataFrame:
    steps = np.arange(days, dtype=float)
    values = {
        "scope1": level + steps,
        "scope2": 2 * level - steps,
        "made": 60 + steps % 7,
        "warmth": level + 0 * steps,
    }
    return pd.DataFrame({ID: name, TIME: pd.date_range(first, periods=days), **values})


@pytest.fixture(scope="module")
def sites() -> Panel:
    frames = [site("a", "2024-01-01", 20, 10), site("b", "2024-01-03", 18, 20), site("c", "2024-01-01", 18, 30)]
    return Panel(pd.concat(frames, ignore_index=True), SCHEMA).validate()


@pytest.fixture(scope="module")
def tree() -> Hierarchy:
    parents = {"a": "north", "b": "north", "north": "europe", "c": "south"}
    return Hierarchy.of(("a", "b", "c"), ("scope1", "scope2"), parents=parents)


def test_nodes_are_named_from_the_root_down(tree: Hierarchy) -> None:
    groups = ("europe", "south", "north")
    sums = ("organisation", "organisation/scope1", "organisation/scope2", *groups, "a", "b", "c")
    assert tree.nodes == (*sums, "a/scope1", "a/scope2", "b/scope1", "b/scope2", "c/scope1", "c/scope2")
    assert [tree.nodes[i] for i in tree.at("group")] == list(groups)
    rows = dict(zip(tree.nodes, tree.summing.tolist(), strict=True))
    assert rows["organisation/scope2"] == [0, 1, 0, 1, 0, 1]
    assert rows["europe"] == rows["north"] == [1, 1, 1, 1, 0, 0]
    assert rows["c"] == [0, 0, 0, 0, 1, 1]
    assert np.array_equal(tree.summing[-6:], np.eye(6))


def test_one_target_needs_no_level_of_its_own() -> None:
    flat = Hierarchy.of(("a", "b"), ("kwh",))
    assert flat.nodes == ("organisation", "a", "b")
    assert flat.levels == ("root", "leaf", "leaf")


def test_the_panel_of_nodes_adds_up_where_all_leaves_are(tree: Hierarchy, sites: Panel) -> None:
    panel = tree.panel(sites, covariates={"made": "sum", "warmth": "mean"})
    assert panel.series == tree.nodes
    by_node = {name: rows.set_index(TIME) for name, rows in panel.frame.groupby(ID)}
    assert len(by_node["organisation"]) == 16  # 3 to 18 January: what the three sites share
    assert len(by_node["a/scope1"]) == 20
    day = pd.Timestamp("2024-01-05")
    at = sites.frame[sites.frame[TIME] == day].set_index(ID)
    assert by_node["organisation"].loc[day, TOTAL] == at[["scope1", "scope2"]].to_numpy().sum()
    assert by_node["north"].loc[day, TOTAL] == at.loc[["a", "b"], ["scope1", "scope2"]].to_numpy().sum()
    assert by_node["organisation"].loc[day, "made"] == at["made"].sum()  # each site once, not once a scope
    assert by_node["organisation"].loc[day, "warmth"] == pytest.approx(20)
    assert panel.schema.known_names == ("made",)
    assert panel.schema.column("made").high is None


def test_leaves_may_come_from_a_model_of_the_sites(tree: Hierarchy) -> None:
    def forecast(ids: tuple[str, ...], targets: tuple[str, ...], start: float) -> Prediction:
        shape = (len(ids), 2, len(targets))
        return Prediction(
            ids=ids,
            origins=np.full(len(ids), np.datetime64("2024-01-10", "ns")),
            timestamps=np.tile(np.array(["2024-01-11", "2024-01-12"], dtype="datetime64[ns]"), (len(ids), 1)),
            targets=targets,
            point=start + np.arange(np.prod(shape), dtype=float).reshape(shape),
            levels=(0.5,),
            values=np.zeros((*shape, 1)),
            confidence=np.zeros(shape),
            model="made up",
        )

    upper, leaves = forecast(tree.nodes[:-6], (TOTAL,), 100), forecast(("a", "b", "c"), ("scope1", "scope2"), 0)
    points = tree.gather(upper, leaves)
    assert points.shape == (15, 2)
    assert points[0].tolist() == [100, 101]
    assert points[-1].tolist() == [9, 11]  # c's second target at both steps
    with pytest.raises(UnknownNameError, match="a/scope1"):
        tree.gather(upper)


@pytest.mark.parametrize(
    ("series", "parents", "message"),
    [
        (("a", "b"), {"a": "x", "x": "y", "y": "x"}, "circle"),
        (("a", "b"), {"a": "x", "z": "x"}, "'z' holds no series"),
        (("a", "a"), {}, "twice"),
        (("a", "organisation"), {}, "twice"),
        ((), {}, "0 leaf"),
    ],
)
def test_what_is_no_hierarchy_is_refused(series: tuple[str, ...], parents: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Hierarchy.of(series, ("scope1", "scope2"), parents=parents)


def test_faults_of_the_data_are_named(sites: Panel) -> None:
    pair = Hierarchy.of(("a", "z"), ("scope1", "scope2"))
    with pytest.raises(UnknownNameError, match="'z'"):
        pair.panel(sites)
    apart = [site("a", "2024-01-01", 5, 1), site("b", "2025-01-01", 5, 1)]
    with pytest.raises(DataError, match="below 'organisation' have no time in common"):
        Hierarchy.of(("a", "b"), ("scope1", "scope2")).panel(Panel(pd.concat(apart, ignore_index=True), SCHEMA))
    units = Schema(
        name="u", frequency="D", targets=(Column(name="scope1", unit="t"), Column(name="scope2", unit="kWh"))
    )
    with pytest.raises(ConfigError, match="kWh, t, expected one unit"):
        Hierarchy.of(("a", "b"), ("scope1", "scope2")).panel(Panel(sites.frame, units))
