"""The explain node: what moved the forecasts of a question that asks for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cluster.errors import InsufficientHistoryError, UserError
from serve_deployments.handlers.validate import frame_of
from serve_deployments.schemas import MAX_EXPLAINED, ForecastRequest
from training.core.panel import Panel
from training.core.schema import Schema
from training.inference.factors import key_factors

if TYPE_CHECKING:
    from training.models.ensemble import Ensemble

PAIRS = 16
"""Orders of drivers that are drawn where a model cannot be read exactly: half of the command line's precision
in a quarter of its time, while somebody waits."""


def explain(question: ForecastRequest, schema: Schema, model: Ensemble) -> list[dict[str, Any]]:
    """Return the contributions of drivers to each forecast's sum over the horizon, the largest first.

    Parameters
    ----------
    question
        Valid. Where contributions are sampled, its series need rows before the model's context to compare with.
    schema, model
        Whose forecasts they are.

    Raises
    ------
    UserError
        More series than are explained at once, or the model knows columns ahead.
    InsufficientHistoryError
        A series has nothing to compare with.
    """
    if len(question.series) > MAX_EXPLAINED or model.known:
        what = f"{len(question.series)} series" if not model.known else f"a model that knows {model.known[0]} ahead"
        raise UserError(
            f"explain: got {what}, expected at most {MAX_EXPLAINED} series of a model that knows nothing ahead; "
            "send fewer, or use `training.inference.factors`",
            field="body.explain",
            got=what,
            expected=f"at most {MAX_EXPLAINED} series",
        )
    try:
        found = key_factors(model, Panel(frame_of(question.series, schema), schema), pairs=PAIRS)
    except InsufficientHistoryError as error:
        error.context.setdefault("field", "body.series")
        raise
    columns = ("series_id", "target", "driver", "contribution", "share", "standard_error")
    rows = found.totals()[list(columns)].to_dict("records")
    return [{str(name): value for name, value in row.items()} for row in rows]
