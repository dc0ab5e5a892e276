"""AutoML against one XGBoost tuned by Optuna, and against FLAML: the same rows, seconds and processor.

A pair is one seed of every set, the contenders' runs of a set right after each other, in turned order. Each run is
kept in `results/automl_runs.json` as it ends: what was cut off goes on where it was. FLAML is installed beside the
project.

The rule of noise, set before the first run: over the seeds, a set is lost to a rival where the mean logarithm of
the ratio of the losses is above half a percent and above two of its standard errors; won where it is as far below;
else tied.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from benchmarks.automl_contenders import CONTENDERS
from benchmarks.automl_data import SETS
from benchmarks.measure import RESULTS, Benchmark, Pair
from cluster.storage.files import write_whole

BUDGET_S = 10.0

FLAML = "flaml==2.7.0"
RIVALS = ("flaml", "xgboost")
LEAST = 0.005
"""Mean logarithm of a ratio below which nothing is won or lost."""
RUNS = RESULTS / "automl_runs.json"
Runs = dict[str, dict[str, float]]


def pair(seed: int, baseline_first: bool) -> Pair:
    """Run every set of a seed that was not run yet, and say how ours stands over all seeds so far."""
    runs = _kept()
    order = list(CONTENDERS) if baseline_first else list(reversed(CONTENDERS))
    todo = [(name, each) for name in SETS for each in order if _key(name, seed, each) not in runs]
    processes: dict[str, subprocess.Popen[str]] = {}
    try:
        for name, contender in todo:
            process = processes.get(contender) or _started(contender)
            processes[contender] = process
            runs[_key(name, seed, contender)] = _asked(process, name, seed)
            write_whole(RUNS, json.dumps(runs, indent=1).encode())
            print(f"  {name} seed {seed} {contender}: {runs[_key(name, seed, contender)]}", flush=True)
    finally:
        for process in processes.values():
            process.kill()
            process.wait(timeout=10)
    ratios = {rival: _geometric([_ratio(runs, name, seed, rival) for name in SETS]) for rival in RIVALS}
    return Pair(
        seed=seed,
        baseline=1.0,
        ours={f"loss over {rival}": ratio for rival, ratio in ratios.items()},
        notes=_standing(runs, range(seed + 1)),
    )


def _standing(runs: Runs, seeds: range) -> dict[str, Any]:
    """Return won, tied or lost against each rival, set by set; and the share of sets that are not lost to any."""
    verdicts = {name: {rival: _verdict(_logs(runs, name, rival, seeds)) for rival in RIVALS} for name in SETS}
    shares = {
        f"not_lost_to_{rival}": mean(each[rival]["verdict"] != "lost" for each in verdicts.values())
        for rival in RIVALS
    }
    shares |= {
        f"lower_mean_than_{rival}": mean(each[rival]["ratio"] < 1 for each in verdicts.values()) for rival in RIVALS
    }
    neither = mean(all(each[rival]["verdict"] != "lost" for rival in RIVALS) for each in verdicts.values())
    over = [runs[key]["fit_s"] / BUDGET_S for key in runs if key.endswith("/ours")]
    return {
        "seeds": len(seeds),
        **shares,
        "not_lost_to_either": neither,
        "most_time_used": max(over),
        "sets": verdicts,
    }


def _logs(runs: Runs, name: str, rival: str, seeds: range) -> list[float]:
    return [math.log(_ratio(runs, name, seed, rival)) for seed in seeds]


def _verdict(logs: list[float]) -> dict[str, Any]:
    """Return the verdict on one set and rival by the rule of noise; one seed alone decides nothing."""
    middle = mean(logs)
    error = stdev(logs) / math.sqrt(len(logs)) if len(logs) > 1 else math.inf
    far = abs(middle) > LEAST and abs(middle) > 2 * error
    verdict = "tied" if not far else ("lost" if middle > 0 else "won")
    return {"verdict": verdict, "ratio": math.exp(middle), "error": None if math.isinf(error) else error}


def _ratio(runs: Runs, name: str, seed: int, rival: str) -> float:
    return runs[_key(name, seed, "ours")]["loss"] / runs[_key(name, seed, rival)]["loss"]


def _geometric(ratios: list[float]) -> float:
    return math.exp(mean(math.log(each) for each in ratios))


def _key(name: str, seed: int, contender: str) -> str:
    return f"{name}/{seed}/{contender}"


def _kept() -> Runs:
    runs: Runs = json.loads(RUNS.read_text()) if RUNS.is_file() else {}
    return runs


def _started(contender: str) -> subprocess.Popen[str]:
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    paths = [str(_flaml()), os.environ.get("PYTHONPATH", "")] if contender == "flaml" else []
    more = {"PYTHONPATH": os.pathsep.join(filter(None, paths))} if paths else {}
    return subprocess.Popen(
        [sys.executable, "-m", "benchmarks.automl_contenders", contender, str(BUDGET_S)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=os.environ | threads | more,
    )


def _asked(process: subprocess.Popen[str], name: str, seed: int) -> dict[str, float]:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{name} {seed}\n")
    process.stdin.flush()
    answer: dict[str, float] = json.loads(process.stdout.readline())
    return answer


def _flaml() -> Path:
    """Return a folder with FLAML alone, installed where it is missing: what it needs, the project has."""
    folder = Path(tempfile.gettempdir()) / FLAML
    if not (folder / "flaml").is_dir():
        command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(folder), FLAML]
        subprocess.run(command, check=True, timeout=300)
    return folder


BENCHMARK = Benchmark(
    name="automl",
    question=f"loss of AutoML in {BUDGET_S:g} s over that of FLAML and of a tuned XGBoost, {len(SETS)} sets, "
    "geometric mean; wins and ties by set in the notes",
    goal=1.0,
    pair=pair,
)
