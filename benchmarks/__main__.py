"""`python -m benchmarks list` and `python -m benchmarks run [NAME ...] [--pairs N]`, from the project's folder."""

from __future__ import annotations

import argparse
import signal
import sys
from importlib import import_module

from benchmarks.measure import Benchmark, run

BENCHMARKS = {
    "autoscaling": "benchmarks.autoscaling",
    "serving_cache": "benchmarks.serving_cache",
    "automl": "benchmarks.automl",
    "backtest_scale": "benchmarks.backtest_scale",
    "bizitobs": "benchmarks.bizitobs",
    "emissions": "benchmarks.emissions",
    "etth1": "benchmarks.etth1",
    "experiments": "benchmarks.experiments",
    "false_alarms": "benchmarks.false_alarms",
    "gas_turbine": "benchmarks.gas_turbine",
    "intervals": "benchmarks.intervals",
    "etth1_lstm": "benchmarks.etth1_lstm",
    "lstm_training": "benchmarks.lstm_training",
    "operations": "benchmarks.operations",
    "planted": "benchmarks.planted",
    "tune_overhead": "benchmarks.tune_overhead",
    "two_workers": "benchmarks.two_workers",
    "nab": "benchmarks.nab",
    "online_scoring": "benchmarks.online_scoring",
    "proposals": "benchmarks.proposals",
    "quality": "benchmarks.quality",
    "regret": "benchmarks.regret",
    "search_trials": "benchmarks.search_trials",
    "rollout_load": "benchmarks.serving.rollout_load",
    "rollouts": "benchmarks.rollouts",
    "serving_bulk": "benchmarks.serving.bulk",
    "serving_graph": "benchmarks.serving.graph",
    "serving_models": "benchmarks.serving_models",
    "serving_kills": "benchmarks.serving.kills",
    "serving_soak": "benchmarks.serving.soak",
    "serving_spike": "benchmarks.serving.spike",
    "serving_throughput": "benchmarks.serving.throughput",
    "victoria": "benchmarks.victoria",
}


def load(name: str) -> Benchmark:
    """Import a benchmark when it is asked for."""
    benchmark: Benchmark = import_module(BENCHMARKS[name]).BENCHMARK
    return benchmark


def main() -> None:
    """Read the command line and do it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="names and questions")
    runs = commands.add_parser("run", help="run one, some or all")
    runs.add_argument(
        "names", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHMARKS)}; all when none is given"
    )
    runs.add_argument("--pairs", type=int, default=3, help="pairs of runs, each with its own seed (default 3)")
    asked = parser.parse_args()
    # What a benchmark has started is ended on the way out, by Ctrl-C and by whoever ends this process politely.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    if asked.command == "list":
        for name in BENCHMARKS:
            print(f"{name}: {load(name).question}")
        return
    unknown = set(asked.names) - set(BENCHMARKS)
    if unknown or asked.pairs < 1:
        parser.error(f"unknown {', '.join(sorted(unknown))}" if unknown else "--pairs: expected 1 or more")
    for name in asked.names or BENCHMARKS:
        print(f"  stored in {run(load(name), asked.pairs, print)}")


if __name__ == "__main__":
    main()
