"""The rungs below the models, for the kinds of question that have some."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from serve_deployments.handlers.forecast import ForecastModel
from serve_deployments.handlers.forecast_face import ForecastFace
from serve_deployments.handlers.shelf import Shelf
from serve_deployments.resilience.quality import QualityError
from serve_deployments.resilience.rule_based import rule_based, stated_default
from serve_deployments.servable import Servable
from serve_deployments.steps import Answer, Call


def previous(shelf: Shelf, servable: Servable) -> Servable | None:
    """Return the version to ask where `servable` fails: of those that answer the same, the one listed next.

    The shelf lists a name's versions in order of preference; behind the last one comes the first.
    """
    alike = [each for each in shelf.versions(servable.name).values() if each.kind == servable.kind]
    place = next((n for n, each in enumerate(alike) if each.version == servable.version), -1)
    others = [*alike[place + 1 :], *alike[: max(0, place)]]
    return others[0] if others else None


def has_rule(servable: Servable) -> bool:
    """Return whether a question to this version can be answered without any."""
    return isinstance(servable, ForecastFace)


def by_rule(call: Call) -> Answer:
    """Return the rule-based answer to a question about series; raises what validation raises."""
    servable = _forecaster(call)
    job = servable.validate(call.question)
    histories = [
        np.column_stack([np.asarray(each.values[name], dtype=np.float64) for name in servable.schema.target_names])
        for each in call.question.series
    ]
    forecast = rule_based(histories, job.context, servable.schema, job.steps, job.levels)
    return Answer(servable=servable, result=forecast)


def by_default(call: Call, defaults: Mapping[str, float]) -> Answer:
    """Return the stated values as an answer; raises what validation raises."""
    servable = _forecaster(call)
    job = servable.validate(call.question)
    stated = stated_default(job.context, servable.schema, job.steps, job.levels, defaults)
    return Answer(servable=servable, result=stated)


def _forecaster(call: Call) -> ForecastFace:
    if not isinstance(call.servable, ForecastFace):
        raise TypeError(f"no rule for questions of kind '{call.servable.kind}'")
    return call.servable


def judged(answer: Answer) -> Answer:
    """Return the answer; raise QualityError where by its version's own calibration it cannot be true."""
    servable = answer.servable
    if isinstance(servable, ForecastModel) and (fault := servable.quality.fault(answer.result)):
        raise QualityError(fault)
    return answer
