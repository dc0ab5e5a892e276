"""Answers survive the way to a store and back to the last bit; what is no answer is refused."""

from __future__ import annotations

import gc
import struct
import tracemalloc
from dataclasses import fields, replace

import numpy as np
import orjson
import pytest

from serve_deployments.cache.codec import AnswerCodec, answer_bytes, make_own
from serve_deployments.handlers.forecast import ForecastModel
from serve_deployments.steps import Answer
from training.core.panel import Panel
from training.models.ensemble import Ensemble


@pytest.fixture(scope="module")
def model(ensemble: Ensemble, hourly: Panel) -> ForecastModel:
    return ForecastModel(name="nox", version="1.0.0", ensemble=ensemble, schema=hourly.schema, metrics={})


@pytest.fixture
def answer(model: ForecastModel, hourly: Panel) -> Answer:
    return Answer(servable=model, result=model.ensemble.forecast(hourly))


def test_an_answer_comes_back_to_the_last_bit(model: ForecastModel, answer: Answer) -> None:
    codec = AnswerCodec()
    answer.write()
    back = codec.decode(codec.encode(answer), model)
    for each in fields(answer.result):
        one, other = getattr(answer.result, each.name), getattr(back.result, each.name)
        if isinstance(one, np.ndarray):
            assert one.dtype == other.dtype
            np.testing.assert_array_equal(one, other)
        else:
            assert one == other
    assert orjson.dumps(back.plain()) == orjson.dumps(model.plain(answer.result))


def test_an_array_of_objects_is_refused(model: ForecastModel) -> None:
    header = orjson.dumps({"arrays": [["point", "|O", [1]]], "rest": {}, "plain": []})
    with pytest.raises(ValueError, match="array of"):
        AnswerCodec().decode(struct.pack("<q", len(header)) + header + bytes(8), model)


def test_written_fields_are_the_same_text(model: ForecastModel, answer: Answer) -> None:
    before = orjson.dumps(answer.plain())
    answer.write()
    answer.write()
    assert orjson.dumps(answer.plain()) == before
    assert answer.written_bytes > 100


def kept(model: ForecastModel, hourly: Panel, count: int) -> list[Answer]:
    answers = [Answer(servable=model, result=model.ensemble.forecast(hourly)) for _ in range(count)]
    for each in answers:
        make_own(each)
        each.write()
    return answers


def test_an_answer_takes_what_is_counted_for_it(model: ForecastModel, hourly: Panel) -> None:
    kept(model, hourly, 1)  # what the first one of a process keeps is no answer's
    took = []
    for _ in range(3):  # what else runs in the process may take memory meanwhile, and only adds
        gc.collect()
        tracemalloc.start()
        try:
            before = tracemalloc.get_traced_memory()[0]
            answers = kept(model, hourly, 50)
            took.append(tracemalloc.get_traced_memory()[0] - before)
        finally:
            tracemalloc.stop()
    counted = sum(map(answer_bytes, answers))
    assert 0.5 * counted < min(took) <= counted


def test_a_kept_answer_keeps_nothing_of_its_batch(model: ForecastModel, answer: Answer) -> None:
    whole = np.zeros((64, 6, 1))
    piece = Answer(servable=model, result=replace(answer.result, point=whole[3:5]))
    make_own(piece)
    assert piece.result.point.base is None
    np.testing.assert_array_equal(piece.result.point, whole[3:5])
