"""Version numbers and the rule that gives them."""

from __future__ import annotations

import pickle
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.errors import GateRefused, UserError
from cluster.registry.registry import GATES, check_gate
from cluster.registry.version import FIRST, Change, Lineage, ModelVersion, SemanticVersion, Stage

LINEAGE = Lineage(
    data_digest="d", schema_digest="s", parameters={"a": 1}, seed=0, code_revision="c", libraries={"numpy": "2"}
)
NUMBERS = st.integers(0, 10**6)
VERSIONS = st.builds(SemanticVersion, NUMBERS, NUMBERS, NUMBERS)
CHANGES: tuple[Change, ...] = ("major", "minor", "patch")


@given(VERSIONS, st.sampled_from(CHANGES))
def test_next_is_always_greater(version: SemanticVersion, change: Change) -> None:
    assert version.next(change) > version


@given(VERSIONS)
def test_heavier_changes_lead_further(version: SemanticVersion) -> None:
    assert version.next("major") > version.next("minor") > version.next("patch")


@given(VERSIONS)
def test_text_and_back(version: SemanticVersion) -> None:
    assert SemanticVersion.parse(str(version)) == version


@given(st.text(max_size=12))
def test_parse_reads_a_version_or_names_what_it_got(text: str) -> None:
    try:
        assert str(SemanticVersion.parse(text)) == text
    except UserError as error:
        assert f"got '{text}'" in str(error)


@pytest.mark.parametrize("text", ["", "1", "1.0", "1.0.0.0", "v1.0.0", "01.0.0", "1.0.-1", "1.0.0\n", "\u0661.0.0"])
def test_parse_refuses(text: str) -> None:
    with pytest.raises(UserError, match=r"expected MAJOR\.MINOR\.PATCH"):
        SemanticVersion.parse(text)


@pytest.mark.parametrize(
    ("later", "change"),
    [
        (replace(LINEAGE, schema_digest="t", parameters={"a": 2}), "major"),
        (replace(LINEAGE, parameters={"a": 2}), "minor"),
        (replace(LINEAGE, code_revision="c-dirty"), "minor"),
        (replace(LINEAGE, data_digest="e"), "patch"),
        (replace(LINEAGE, seed=1), "patch"),
        (replace(LINEAGE, libraries={"numpy": "3"}), "patch"),
        (LINEAGE, "patch"),
    ],
)
def test_the_heaviest_difference_decides(later: Lineage, change: str) -> None:
    assert later.change_since(LINEAGE) == change


def test_the_order_of_parameters_does_not_count() -> None:
    one, other = replace(LINEAGE, parameters={"a": 1, "b": 2}), replace(LINEAGE, parameters={"b": 2, "a": 1})
    assert one.change_since(other) == "patch"
    assert one.to_json() == other.to_json()
    assert Lineage.from_json(one.to_json()) == one


def _candidate() -> ModelVersion:
    return ModelVersion(
        name="m",
        version=FIRST,
        stage=Stage.CANDIDATE,
        lineage=LINEAGE,
        metrics={},
        owner="o",
        files={},
        uri="u",
        created_at_s=0.0,
    )


@pytest.mark.parametrize("stage", list(Stage))
def test_a_gate_names_all_that_is_missing(stage: Stage) -> None:
    asked = GATES[stage]
    check_gate(_candidate(), stage, dict.fromkeys(asked, "given"))
    for name in asked:
        rest = {other: "given" for other in asked if other != name}
        with pytest.raises(GateRefused) as caught:
            check_gate(_candidate(), stage, rest | {name: {}})
        assert caught.value.context["missing"] == [name]


def test_a_version_survives_pickling() -> None:
    assert pickle.loads(pickle.dumps(_candidate())) == _candidate()
