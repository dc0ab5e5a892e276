"""Fit, judge, register: from a panel to a version that may serve."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from apps.pipelines.recipe import Recipe
from cluster.registry.registry import Registry
from cluster.registry.revision import code_revision
from cluster.registry.version import Lineage, ModelVersion, Stage
from training.core.artifact import Manifest, save_artifact
from training.core.panel import Panel
from training.core.runner import Runner
from training.core.splits import Split, chronological_split
from training.evaluation.backtest import Backtest, backtest
from training.evaluation.gate import Gate, Verdict
from training.evaluation.scorecard import Scorecard
from training.models.ensemble import Ensemble
from training.models.seasonal_naive import SeasonalNaive


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A fitted model and what the test part says of it.

    Parameters
    ----------
    recipe
        What was asked for.
    panel
        The data, with the recipe's target.
    model
        Fitted and calibrated.
    split
        The data's parts.
    test
        Its forecasts from every origin of the test part.
    card, baseline
        Its figures and the seasonal naive forecast's, on the same origins.
    verdict
        The gate's decision.
    why
        Reasons for the members and their weights, where they were chosen on backtests.
    run
        The experiment's run that tracks it, where there is one.
    report
        The HTML report, a copy of which is kept with the run.
    """

    recipe: Recipe
    panel: Panel
    model: Ensemble
    split: Split
    test: Backtest
    card: Scorecard
    baseline: Scorecard
    verdict: Verdict
    why: tuple[str, ...] = ()
    run: str = ""
    report: Path | None = None

    def figures(self) -> list[dict[str, Any]]:
        """Return a row a figure: the model's and seasonal naive's."""
        ours, naive = self.card.metrics(), self.baseline.metrics()
        rows = [
            {"figure": name.replace("_", " "), self.recipe.name: value, "seasonal naive": naive.get(name)}
            for name, value in ours.items()
        ]
        return [*rows, {"figure": "weights", self.recipe.name: self._weights(), "seasonal naive": ""}]

    def _weights(self) -> str:
        members = zip(self.model.members, self.model.weights, strict=True)
        return ", ".join(f"{member.name} {weight:.2f}" for member, weight in members)


def fit_and_judge(panel: Panel, recipe: Recipe, *, runner: Runner, gate: Gate | None = None) -> Judged:
    """Fit the recipe on the first 70 %, calibrate on the next 15 %, judge on the last 15 %.

    Parameters
    ----------
    panel
        Validated data that has the recipe's target.
    runner
        Where the members train.
    gate
        The bars; accuracy above 0.85 and better than seasonal naive when None.

    Raises
    ------
    InsufficientHistoryError
        A part is too short for the recipe's windows.
    """
    data = recipe.view(panel)
    split = chronological_split(data)
    model = Ensemble(features=list(recipe.features), members=list(recipe.members))
    model.fit_panel(data, horizon=recipe.horizon, split=split, runner=runner)
    return judge(model, data, recipe, split=split, gate=gate)


def judge(
    model: Ensemble,
    data: Panel,
    recipe: Recipe,
    *,
    split: Split,
    gate: Gate | None = None,
    why: Sequence[str] = (),
) -> Judged:
    """Judge a fitted and calibrated model on the test part.

    Parameters
    ----------
    model
        Fitted before the test part.
    data
        With the recipe's target alone.
    recipe
        How the model was made.
    split
        Says where the test part starts.
    gate
        As in `fit_and_judge`.
    why
        Reasons for the members and their weights, kept with a registered version.
    """
    naive = SeasonalNaive(season=recipe.season).fit_panel(data, horizon=recipe.horizon, split=split)
    test = backtest(model, data, since=split.test_start)
    card = Scorecard.of(test)
    baseline = Scorecard.of(backtest(naive, data, since=split.test_start))
    verdict = (gate or Gate()).judge(card, baseline)
    return Judged(
        recipe=recipe,
        panel=data,
        model=model,
        split=split,
        test=test,
        card=card,
        baseline=baseline,
        verdict=verdict,
        why=tuple(why),
    )


def register(judged: Judged, registry: Registry, *, owner: str) -> ModelVersion:
    """Register the model as a production version, if its gate lets it.

    Raises
    ------
    GateRefused
        The verdict is no; the message says by how much.
    """
    judged.verdict.require()
    with tempfile.TemporaryDirectory() as folder:
        artifact = Path(folder) / "artifact"
        manifest = save_artifact(judged.model, judged.panel.schema, artifact)
        evaluation = judged.verdict.to_json()
        version = registry.register(
            judged.recipe.name,
            artifact,
            lineage=lineage_of(judged, manifest),
            metrics=judged.card.metrics(),
            owner=owner,
            evidence={"evaluation": evaluation} | _further_evidence(judged),
        )
    approval = {"by": owner, "because": "passed the gate of the training pipeline"}
    return registry.promote(
        version.name, version.version, Stage.PRODUCTION, {"evaluation": evaluation, "approval": approval}
    )


def _further_evidence(judged: Judged) -> dict[str, Any]:
    """Return why the members were chosen, and where the report is, as far as there are any."""
    selection = {"selection": list(judged.why)} if judged.why else {}
    report = {"report": {"run": judged.run, "file": judged.report.name}} if judged.report else {}
    return selection | report


def lineage_of(judged: Judged, manifest: Manifest) -> Lineage:
    """Return what it takes to make the model again."""
    return Lineage(
        data_digest=judged.panel.digest(),
        schema_digest=manifest.schema_digest,
        parameters=asdict(judged.recipe),
        seed=seed_of(judged.model.params()),
        code_revision=code_revision(),
        libraries=manifest.libraries,
    )


def seed_of(params: dict[str, Any]) -> int:
    """Return the members' seed; they share one."""
    return next((member["params"]["seed"] for member in params["members"] if "seed" in member["params"]), 0)
