"""What every benchmark has in common: pairs in turn, medians of ratios, and a file that says where and when."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median

RESULTS = Path(__file__).parent / "results"
LIBRARIES = ("botorch", "heliotrope", "lightgbm", "numpy", "optuna", "ray", "statsforecast", "torch", "xgboost")


@dataclass(frozen=True, kw_only=True)
class Pair:
    """One baseline run and what is compared with it, run one after the other.

    Parameters
    ----------
    seed
        Of both.
    baseline
        The baseline's figure: seconds, or an error.
    ours
        Variant -> the same figure; None where it did not get there.
    notes
        Further figures.
    """

    seed: int
    baseline: float
    ours: Mapping[str, float | None]
    notes: Mapping[str, object] = field(default_factory=dict)

    def ratio(self, variant: str) -> float:
        """Return ours over baseline; infinite where ours did not get there."""
        figure = self.ours[variant]
        return float("inf") if figure is None else figure / self.baseline


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """A question with a number for an answer.

    Parameters
    ----------
    name
        On the command line and of the result's file.
    question
        What is compared, in one line.
    goal
        The ratio that the first variant shall not exceed.
    pair
        Runs the pair of a seed; `baseline_first` alternates.
    summary
        What else all pairs together say; said and stored.
    """

    name: str
    question: str
    goal: float
    pair: Callable[[int, bool], Pair]
    summary: Callable[[list[Pair]], Mapping[str, object]] = lambda _: {}


def run(benchmark: Benchmark, pairs: int, say: Callable[[str], None]) -> Path:
    """Run some pairs, say each ratio and the medians, store them; return the file."""
    say(f"{benchmark.name}: {benchmark.question}")
    done, loops_ms = list[Pair](), [loop_ms()]
    for seed in range(pairs):
        pair = benchmark.pair(seed, seed % 2 == 0)
        done.append(pair)
        loops_ms.append(loop_ms())
        say(f"  seed {seed}: baseline {pair.baseline:.4g}; ratio {_told(pair.ratio, pair.ours)}; {pair.notes}")
    medians = {variant: median(pair.ratio(variant) for pair in done) for variant in done[0].ours}
    first = next(iter(medians))
    verdict = "reached" if medians[first] <= benchmark.goal else "MISSED"
    say(f"  median ratio {_told(medians.__getitem__, medians)}; goal for {first} {benchmark.goal:.3f}: {verdict}")
    for name, told in benchmark.summary(done).items():
        say(f"  {name}: {told}")
    loops = ", ".join(f"{took:.0f}" for took in loops_ms)
    say(f"  a plain loop took {loops} ms before, between and after the pairs")
    return _store(benchmark, done, medians, loops_ms)


def loop_ms() -> float:
    """Return the milliseconds of a million turns of a plain loop: how fast the machine is at this moment.

    A machine that is shared with others may be half as fast as a minute ago, and nothing else tells.
    """
    took_s = []
    for _ in range(5):
        begun_s, total = time.perf_counter(), 0
        for turn in range(1_000_000):
            total += turn
        took_s.append(time.perf_counter() - begun_s)
    return 1000 * median(took_s)


def _told(ratio: Callable[[str], float], variants: Mapping[str, object]) -> str:
    return ", ".join(f"{variant} {ratio(variant):.3f}" for variant in variants)


def _store(
    benchmark: Benchmark, pairs: list[Pair], medians: Mapping[str, float], loops_ms: Sequence[float]
) -> Path:
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{benchmark.name}.json"
    told = {
        "benchmark": benchmark.name,
        "question": benchmark.question,
        "goal_ratio": benchmark.goal,
        "median_ratio": {name: None if ratio == float("inf") else ratio for name, ratio in medians.items()},
        "summary": dict(benchmark.summary(pairs)),
        "pairs": [asdict(pair) for pair in pairs],
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": _machine() | {"loop_ms": [round(took, 1) for took in loops_ms]},
        "versions": {"python": platform.python_version()} | {name: version(name) for name in LIBRARIES},
    }
    aside = path.with_suffix(".tmp")
    aside.write_text(json.dumps(told, indent=2) + "\n")
    aside.replace(path)
    return path


def _machine() -> dict[str, object]:
    import torch

    capabilities = torch.cpu.get_capabilities()
    return {
        "processor": capabilities.get("cpu_name", platform.processor()),
        "cores": os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "bfloat16_instructions": bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16")),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "load_1min": os.getloadavg()[0],
    }
