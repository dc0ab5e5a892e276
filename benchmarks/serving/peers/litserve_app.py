"""LitServe as its documentation has it: an API class, dynamic batching, one worker a core.

Without postponed annotations, which it does not resolve.
"""

import sys
from typing import Any

import litserve  # type: ignore[import-not-found]  # of the peer's own environment

from benchmarks.serving.peers.plain import Plain


class Api(litserve.LitAPI):  # type: ignore[misc]  # the same
    """Answers batches."""

    def setup(self, device: str) -> None:  # noqa: ARG002 - the peer's word
        """Load the model."""
        self._plain = Plain()

    def decode_request(self, request):  # type: ignore[no-untyped-def]  # it acts on the type where there is one
        """Return the request as it is."""
        return request

    def batch(self, inputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return the batch as a list."""
        return list(inputs)

    def predict(self, inputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Answer a batch."""
        return self._plain.answer(inputs)

    def unbatch(self, output: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return the answers one by one."""
        return output

    def encode_response(self, output: dict[str, Any]) -> dict[str, Any]:
        """Return the answer as it is."""
        return output


if __name__ == "__main__":
    server = litserve.LitServer(
        Api(max_batch_size=32, batch_timeout=0.005), accelerator="cpu", workers_per_device=int(sys.argv[2])
    )
    server.run(port=int(sys.argv[1]), host="127.0.0.1", generate_client_file=False, log_level="error")
