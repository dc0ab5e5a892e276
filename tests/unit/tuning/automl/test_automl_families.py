"""Families of forecasters are backtested as long as the slowest so far leaves time."""

from __future__ import annotations

from tuning.automl.families import FINAL, SLOWER, FamilyQueue


def test_families_come_in_order_while_there_is_time() -> None:
    queue = FamilyQueue(waiting=["naive", "ridge", "trees"], budget_s=60)
    assert queue.next(0) == "naive"
    queue.tell("naive", 0.5)
    assert queue.next(1) == "ridge"
    queue.tell("ridge", 3.0)
    assert queue.next(60 - 3.0 * SLOWER * (1 + FINAL) + 1) is None
    assert queue.reason() == "no time was left for trees"


def test_the_first_is_tried_whatever_the_time_and_none_comes_after_the_last() -> None:
    queue = FamilyQueue(waiting=["naive"], budget_s=1)
    assert queue.next(100) == "naive"
    assert queue.next(0) is None
    assert queue.reason() == "every family was tried"
