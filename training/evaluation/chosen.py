"""From a choice to a model: the chosen families, fitted on their group's series, in the chosen shares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cluster.errors import ConfigError
from training.core.panel import Panel
from training.core.runner import Runner
from training.core.splits import Split
from training.core.validation import ID
from training.evaluation.selection import Selection
from training.models.ensemble import Ensemble


def panel_of(panel: Panel, series: Sequence[str]) -> Panel:
    """Return the rows of some series."""
    return Panel(panel.frame[panel.frame[ID].astype(str).isin(set(series))], panel.schema)


def fit_choice(
    selection: Selection,
    group: str,
    panel: Panel,
    split: Split,
    *,
    features: Sequence[Mapping[str, Any]] = (),
    runner: Runner | None = None,
) -> Ensemble:
    """Return the group's ensemble, fitted, weighted as chosen and calibrated: ready to be judged and registered.

    Parameters
    ----------
    selection, group
        What was chosen, and for whom.
    panel
        All series; the group's are taken out of it. Nothing from `split.test_start` on is looked at.
    split
        Training, validation and calibration parts.
    features
        Transforms before the members; those of the backtest.
    runner
        Where training loops run.

    Raises
    ------
    ConfigError
        Nothing was chosen for the group.
    InsufficientHistoryError
        A part is too short for the members' windows.
    """
    members = selection.members(group)
    if not members:
        raise ConfigError(f"group '{group}' has no model: {selection.choice(group).reasons[0]}", group=group)
    theirs = panel_of(panel, selection.choice(group).series)
    model = Ensemble(features=features, members=[family.part() for family, _ in members])
    model.fit_panel(theirs, horizon=selection.horizon, split=split, runner=runner)
    model.take_weights([share for _, share in members])
    windows = theirs.windows(model.context + selection.horizon)
    return model.calibrate(
        windows.ahead_within(selection.horizon, since=split.calibration_start, until=split.test_start)
    )
