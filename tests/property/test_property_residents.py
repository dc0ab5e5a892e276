"""Which versions stay in memory: held to a slow oracle, and to what must hold at every moment."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from cluster.errors import ConfigError
from serve_deployments.versions.residents import Residents
from serve_deployments.versions.weight import Weight, check_fit

KEYS = st.sampled_from("abcdefgh")


@dataclass
class Oracle:
    """The same by the book: a list in order of use, walked through each time."""

    budget: int
    order: list[str] = field(default_factory=list)
    sizes: dict[str, int] = field(default_factory=dict)
    inside: dict[str, int] = field(default_factory=dict)

    def total(self) -> int:
        return sum(self.sizes[key] for key in self.order)

    def admit(self, key: str, size: int) -> tuple[str, ...] | None:
        kept, gone = list(self.order), []
        for each in self.order:
            if sum(self.sizes[one] for one in kept) + size <= self.budget:
                break
            if not self.inside[each]:
                kept.remove(each)
                gone.append(each)
        if sum(self.sizes[one] for one in kept) + size > self.budget:
            return None
        self.order, self.sizes[key], self.inside[key] = [*kept, key], size, 0
        return tuple(gone)


class ResidentsMachine(RuleBasedStateMachine):
    """Requests come and go, loads are let in or not; both sides must say the same each time."""

    @initialize(budget=st.integers(1, 40))
    def begin(self, budget: int) -> None:
        self.ours, self.book = Residents(budget), Oracle(budget)

    @rule(key=KEYS, size=st.integers(0, 20))
    def ask(self, key: str, size: int) -> None:
        if key in self.ours:
            self.ours.enter(key)
            self.book.inside[key] += 1
            self.book.order.remove(key)
            self.book.order.append(key)
            return
        used = {each for each in self.book.order if self.book.inside[each]}
        going = self.ours.admit(key, size)
        assert going == self.book.admit(key, size)
        assert not used & set(going or ()), "who is in use stays"

    @rule(key=KEYS)
    def leave(self, key: str) -> None:
        if self.book.inside.get(key) and key in self.ours:
            self.book.inside[key] -= 1
            assert self.ours.leave(key) == (self.book.inside[key] == 0)

    @rule(key=KEYS)
    def look_in(self, key: str) -> None:
        if key in self.ours:
            self.ours.look_in(key)
            self.book.inside[key] += 1

    @rule(key=KEYS)
    def drop(self, key: str) -> None:
        if key in self.ours:
            self.ours.drop(key)
            self.book.order.remove(key)

    @invariant()
    def within_the_budget_in_the_book_s_order(self) -> None:
        if hasattr(self, "ours"):
            assert self.ours.keys == tuple(self.book.order)
            assert self.ours.total_bytes == self.book.total() <= self.ours.budget_bytes


TestResidents = ResidentsMachine.TestCase
TestResidents.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def test_a_budget_of_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="got 0 bytes, expected 1 or more"):
        Residents(0)


@given(
    st.lists(st.tuples(st.integers(1, 50), st.booleans()), min_size=1, max_size=8),
    st.integers(1, 100),
)
def test_what_fits_can_always_be_let_in_when_nobody_is_inside(sizes: list[tuple[int, bool]], budget: int) -> None:
    weights = [Weight(key=f"m{n}", size_bytes=size, stays=stays) for n, (size, stays) in enumerate(sizes)]
    staying = sum(each.size_bytes for each in weights if each.stays)
    largest = max((each.size_bytes for each in weights if not each.stays), default=0)
    if staying + largest > budget:
        with pytest.raises(ConfigError, match=rf"expected at most {budget}; raise ML_MODEL_MEMORY_BYTES"):
            check_fit(weights, budget)
        return
    check_fit(weights, budget)
    residents = Residents(budget)
    residents.set_aside(staying)
    for each in weights:
        if not each.stays:
            assert residents.admit(each.key, each.size_bytes) is not None
            assert residents.total_bytes <= budget
