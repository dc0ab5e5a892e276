"""FastAPI as its tutorial has it: a typed body, a plain `def` endpoint in the thread pool."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel

from benchmarks.serving.peers.plain import Plain


class Series(BaseModel):
    """One series."""

    series_id: str
    timestamps: list[str]
    values: dict[str, list[float]]


class Question(BaseModel):
    """A request."""

    model: str
    series: list[Series]


app = FastAPI()
plain = Plain()


@app.post("/predict")
def predict(question: Question) -> dict[str, Any]:
    """Answer one request."""
    return plain.answer([question.model_dump()])[0]


@app.get("/ready")
def ready() -> str:
    """Tell that it is up."""
    return "ready"
