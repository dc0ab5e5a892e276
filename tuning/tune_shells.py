"""Our searchers and stop policies as Ray Tune's: for a `tune.Tuner` of one's own. Imported only where Ray is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ray.tune.execution.tune_controller import TuneController
from ray.tune.experiment import Trial
from ray.tune.result import TRAINING_ITERATION
from ray.tune.schedulers import FIFOScheduler
from ray.tune.search import Searcher

from training.core.space import Draw, Space, parameters
from tuning.search.members import open_search
from tuning.search.outcome import Outcome
from tuning.stopping import StopPolicy


class TuneSearcher(Searcher):  # type: ignore[misc]  # Ray is untyped
    """Any of our searchers as a `Searcher` of Ray Tune; trials that run are pending, and are not proposed again.

    Parameters
    ----------
    space
        What is searched.
    metric
        What trials report; with mode `max` its negative is made small.
    mode
        `min` or `max`.
    search
        Name of the searcher.
    seed
        Of the searcher.
    """

    def __init__(self, space: Space, *, metric: str, mode: str = "min", search: str = "tpe", seed: int = 0) -> None:
        super().__init__(metric=metric, mode=mode)
        self._space = space
        self._policy = open_search(search, space, seed=seed)
        self._pending: dict[str, Draw] = {}

    def suggest(self, trial_id: str) -> Any:
        """Return the next trial's configuration; FINISHED where the space has no more points."""
        draw = self._policy.ask(list(self._pending.values()))
        if draw is None:
            return Searcher.FINISHED
        self._pending[trial_id] = draw
        return parameters(self._space, draw)

    def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:
        """Tell the searcher; a trial without the metric has failed."""
        draw = self._pending.pop(trial_id, None)
        if draw is None:
            return
        if error or not result or self.metric not in result:
            self._policy.tell(draw, Outcome())
            return
        sign = -1.0 if self.mode == "max" else 1.0
        self._policy.tell(draw, Outcome(values=(sign * float(result[self.metric]),)))

    def save(self, checkpoint_path: str) -> None:
        """Write what the searcher was told, and what is pending."""
        state = {"told": self._policy.state(), "pending": self._pending}
        Path(checkpoint_path).write_text(json.dumps(state))

    def restore(self, checkpoint_path: str) -> None:
        """Take back what `save` wrote."""
        state = json.loads(Path(checkpoint_path).read_text())
        self._policy.restore(state["told"])
        self._pending = state["pending"]


class TuneStopping(FIFOScheduler):  # type: ignore[misc]  # Ray is untyped
    """Any of our stop policies as a scheduler of Ray Tune: trials start in order, and bad ones are stopped.

    Parameters
    ----------
    policy
        Judges reports.
    metric
        Lower is better.
    group
        Entry of a trial's configuration that says with whom it is compared; all together where None.
    """

    def __init__(self, policy: StopPolicy, *, metric: str, group: str | None = None) -> None:
        super().__init__()
        self._policy = policy
        self._reported = metric
        self._group = group
        self._numbers: dict[str, int] = {}

    def on_trial_result(
        self,
        tune_controller: TuneController,  # noqa: ARG002 - Tune's signature
        trial: Trial,
        result: dict[str, Any],
    ) -> Any:
        """Let the policy judge a report that has the metric."""
        if self._reported not in result or TRAINING_ITERATION not in result:
            return self.CONTINUE
        group = str(trial.config[self._group]) if self._group else ""
        number = self._numbers.setdefault(trial.trial_id, len(self._numbers))
        stop = self._policy.stops(number, group, float(result[self._reported]))
        return self.STOP if stop else self.CONTINUE
