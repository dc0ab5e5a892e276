"""Many models in one replica with memory for a quarter of them: who waits, how long, and what the process takes.

Sixty versions (four fitted ensembles of ridge and trees on the bundled gas turbine, 15 names each, each loaded for
itself) are asked one after another, some often, most seldom (Zipf). The same questions go to a replica that holds
all of them, to one with a budget that all fit into, and to one with room for fifteen: each in a process of its own,
from the ASGI call to the last byte, without the prediction cache. A request that meets a sleeping version waits for
its load: sha256 of its files, arrays, boosters, one probe.
"""

from __future__ import annotations

import asyncio
import atexit
import multiprocessing
import shutil
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np
import orjson

from benchmarks.measure import Benchmark, Pair
from benchmarks.serving_cache import HORIZON, ROWS, ask
from cluster.clock import SystemClock
from cluster.monitoring.metrics import Metrics, total
from cluster.monitoring.model_cache_metrics import MODEL_EVICTIONS, MODEL_LOADS
from serve_deployments.admission import Limits
from serve_deployments.assembly import Assembly
from serve_deployments.graph import GraphSpec, ServedModel
from serve_deployments.ingress import build_api
from serve_deployments.loading import weights
from serve_deployments.resilience.safety_spec import SafetySpec
from serve_deployments.resilience.spec import FallbackSpec
from serve_deployments.service import fused_service
from training.models.ensemble import Ensemble

NAMES, IN_MEMORY, QUESTIONS = 60, 15, 2000
SKEW = 1.1
"""Exponent of the Zipf law of who is asked: a quarter of the names then gets three quarters of the questions."""
ROUNDS = (40, 60, 80, 100)
LEAST_RATIO = 1.05


@dataclass(frozen=True, kw_only=True)
class Served:
    """What one replica did.

    Parameters
    ----------
    took_s
        Of each question.
    asleep
        Whether its version had to be loaded.
    loads, evictions
        Counted.
    rss_bytes
        Of the process before the first question, after a tenth of them, and after the last.
    most_bytes
        Most that versions took at once, as the cache counts.
    """

    took_s: list[float]
    asleep: list[bool]
    loads: int
    evictions: int
    rss_bytes: tuple[int, int, int]
    most_bytes: int


@cache
def artifacts() -> tuple[list[str], dict[str, Any]]:
    """Return the folders of fitted ensembles, and a question to them."""
    from training.core.artifact import save_artifact
    from training.core.splits import chronological_split
    from training.data.bundled import load_sample

    panel, folder = load_sample("gas_turbine").for_target("NOX"), Path(mkdtemp(prefix="heliotrope-models-"))
    atexit.register(shutil.rmtree, folder)
    for rounds in ROUNDS:
        trees = {"name": "xgboost", "params": {"window": ROWS, "rounds": rounds}}
        members = [{"name": "ridge", "params": {"window": ROWS}}, trees]
        made = Ensemble(members=members).fit_panel(panel, horizon=HORIZON, split=chronological_split(panel))
        save_artifact(made, panel.schema, folder / str(rounds))
    rows = panel.frame.tail(made.context)
    series = {
        "series_id": str(rows["series_id"].iloc[0]),
        "timestamps": [each.isoformat() for each in rows["timestamp"]],
        "values": {name: rows[name].tolist() for name in panel.schema.names},
    }
    return [str(folder / str(rounds)) for rounds in ROUNDS], {"series": [series]}


def spec(folders: list[str], budget_bytes: int | None) -> GraphSpec:
    """Return what a replica serves."""
    limits = Limits(
        max_body_bytes=1 << 20, request_timeout_s=30, max_concurrent_requests=64, max_queued_requests=64
    )
    models = [ServedModel(name=f"site-{n}", version="1.0.0", uri=folders[n % len(folders)]) for n in range(NAMES)]
    safety = SafetySpec(fallback=FallbackSpec(enabled=True))
    return GraphSpec(
        models=tuple(models), limits=limits, cache_dir="", safety=safety, model_memory_bytes=budget_bytes
    )


def order(seed: int) -> list[int]:
    """Return who is asked, one after another."""
    rng = np.random.default_rng(seed)
    shares = 1 / np.arange(1, NAMES + 1) ** SKEW
    names = rng.permutation(NAMES)
    return [int(name) for name in rng.choice(names, QUESTIONS, p=shares / shares.sum())]


def serve(folders: list[str], question: dict[str, Any], budget_bytes: int | None, seed: int) -> Served:
    """Answer the questions of a seed in this process."""
    wanted, metrics = spec(folders, budget_bytes), Metrics()
    parts = Assembly(wanted, metrics, replica="bench")
    service = fused_service(
        parts.shelf,
        limits=wanted.limits,
        target_s=wanted.target_s,
        max_batch_size=wanted.max_batch_size,
        threads=1,
        metrics=metrics,
        clock=SystemClock(),
        steps=parts.steps,
        models=parts.models,
    )
    app = build_api(service)
    bodies = {n: orjson.dumps({**question, "model": f"site-{n}"}) for n in range(NAMES)}

    async def answer() -> Served:
        took_s, asleep, most_bytes, rss = [], [], 0, [resident_bytes()]
        for place, n in enumerate(order(seed)):
            asleep.append(parts.models is not None and parts.models.sleeps(parts.shelf.pick(f"site-{n}")))
            took_s.append(await ask(app, bodies[n]))
            most_bytes = max(most_bytes, parts.models.total_bytes if parts.models else 0)
            if place + 1 in (QUESTIONS // 10, QUESTIONS):
                rss.append(resident_bytes())
        told = metrics.snapshot()
        return Served(
            took_s=took_s,
            asleep=asleep,
            loads=int(total(told, MODEL_LOADS)),
            evictions=int(total(told, MODEL_EVICTIONS)),
            rss_bytes=(rss[0], rss[1], rss[2]),
            most_bytes=most_bytes,
        )

    return asyncio.run(answer())


def resident_bytes() -> int:
    """Return what this process has of the machine's memory."""
    import psutil

    return int(psutil.Process().memory_info().rss)


def apart(seed: int, budget_bytes: int | None) -> Served:
    """Serve in a new process, so that each has the memory of its own models alone."""
    folders, question = artifacts()
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(serve, folders, question, budget_bytes, seed).result()


@cache
def size_bytes() -> int:
    """Return what a version takes in the mean."""
    folders, _ = artifacts()
    few = replace(spec(folders, None), models=spec(folders, None).models[: len(folders)])
    return int(np.mean([weight.size_bytes for weight in weights(few)]))


def pair(seed: int, baseline_first: bool) -> Pair:
    """Ask a replica that holds all without a budget, and those with one; figures are medians of seconds."""
    budgets = {"all": 2 * NAMES * size_bytes(), "few": IN_MEMORY * size_bytes()}
    whole = apart(seed, None) if baseline_first else None
    served = {name: apart(seed, budget) for name, budget in budgets.items()}
    whole = whole or apart(seed, None)
    few, took_s = served["few"], np.array(served["few"].took_s)
    asleep = np.array(few.asleep)
    counts = np.sort(np.bincount(order(seed), minlength=NAMES))[::-1]
    baseline = float(np.median(whole.took_s))
    return Pair(
        seed=seed,
        baseline=baseline,
        ours={
            "budget_that_fits_all": float(np.median(served["all"].took_s)),
            "awake": float(np.median(took_s[~asleep])),
            "asleep": float(np.median(took_s[asleep])),
        },
        notes={
            "baseline_ms": round(baseline * 1e3, 3),
            "hit_ratio": round(1 - float(asleep.mean()), 3),
            "hit_ratio_of_the_most_asked_alone": round(float(counts[:IN_MEMORY].sum() / QUESTIONS), 3),
            "added_by_a_load_ms_p50": round(float(np.median(took_s[asleep]) - baseline) * 1e3, 2),
            "added_by_a_load_ms_p99": round(float(np.quantile(took_s[asleep], 0.99) - baseline) * 1e3, 2),
            "version_mb": round(size_bytes() / 1e6, 2),
            "budget_mb": round(budgets["few"] / 1e6, 1),
            "most_in_memory_mb": round(few.most_bytes / 1e6, 1),
            "rss_mb": {name: _megabytes(each) for name, each in {"without": whole, **served}.items()},
            "loads": few.loads,
            "evictions": few.evictions,
        },
    )


def _megabytes(served: Served) -> list[float]:
    """Return the process's memory before, after a tenth of the questions, and after the last."""
    return [round(each / 1e6, 1) for each in asdict(served)["rss_bytes"]]


BENCHMARK = Benchmark(
    name="serving_models",
    question="seconds of a question to one of 60 models, with a budget for their memory over without one",
    goal=LEAST_RATIO,
    pair=pair,
)
