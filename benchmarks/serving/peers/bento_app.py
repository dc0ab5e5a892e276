"""BentoML as its documentation has it: a service with a batchable method."""

from __future__ import annotations

import os
from typing import Any

import bentoml  # type: ignore[import-not-found]  # of the peer's own environment

from benchmarks.serving.peers.plain import Plain


@bentoml.service(workers=int(os.environ["BENCHMARK_WORKERS"]), traffic={"timeout": 30})
class Peer:
    """Answers batches."""

    def __init__(self) -> None:
        self._plain = Plain()

    @bentoml.api(batchable=True, max_batch_size=32)  # type: ignore[untyped-decorator]  # the same
    def predict(self, requests: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Answer a batch."""
        return self._plain.answer(requests)
