"""The rule book: what ships, what fits, and where a fault lies."""

from __future__ import annotations

from pathlib import Path

import pytest

from cluster.errors import ConfigError
from training.alarms.event_types import TYPES
from training.alarms.rulebook import MOST_ACTIONS, RuleBook, default_book

HEAD = "version = 1\n"
GOOD = HEAD + '\n[[rule]]\nname = "any"\nactions = ["look"]\n'


def test_the_book_that_ships_has_an_answer_for_every_type() -> None:
    for name in TYPES:
        assert default_book().actions((name,), {"x": "1"}, "low"), name


def test_specific_rules_come_first_and_actions_once() -> None:
    book = RuleBook.parse(
        HEAD
        + """
[[rule]]
name = "any"
actions = ["look", "think"]
[[rule]]
name = "boiler gas"
columns = ["boiler_*"]
units = ["m3"]
actions = ["close the valve", "look"]
[[rule]]
name = "worst"
severity = "high"
actions = ["call"]
"""
    )
    low = book.actions(("statistical",), {"boiler_gas": "m3"}, "low")
    assert [(each.text, each.rule) for each in low] == [
        ("close the valve", "boiler gas"),
        ("look", "boiler gas"),
        ("think", "any"),
    ]
    assert [each.text for each in book.actions(("statistical",), {"mill": "t"}, "critical")] == [
        "call",
        "look",
        "think",
    ]
    assert len(default_book().actions(TYPES, {"x": "kWh"}, "critical")) == MOST_ACTIONS


def test_factors_are_read() -> None:
    book = RuleBook.parse(GOOD + '[[factor]]\nsource = "kWh"\ntarget = "EUR"\nfactor = 0.21\norigin = "contract"\n')
    assert (book.conversions[0].target, book.conversions[0].factor) == ("EUR", 0.21)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1, field 'version': got None, expected 1"),
        ("version = 2\n", "line 1, field 'version': got 2, expected 1"),
        (HEAD + "colour = 1\n", "line 2, field 'colour': got 'colour', expected one of version, rule, factor"),
        (HEAD + "rule = 3\n", "line 2, field 'rule': got something else, expected [[rule]] entries"),
        (
            HEAD + '[[rule]]\nname = "a"\n',
            "line 2, rule 1, field 'actions': got nothing, expected a value",
        ),
        (
            GOOD + '[[rule]]\nname = "b"\ntypes = ["odd"]\nactions = ["x"]\n',
            f"line 8, rule 2, field 'types': got 'odd', expected one of {', '.join(TYPES)}",
        ),
        (GOOD + "kind = 1\n", "line 6, rule 1, field 'kind': got 'kind', expected one of name, types,"),
        (
            GOOD + 'severity = "bad"\n',
            "line 6, rule 1, field 'severity': got 'bad', expected one of low, medium, high, critical",
        ),
        (
            HEAD + '[[rule]]\nname = "a"\nactions = []\n',
            "line 4, rule 1, field 'actions': got none, expected one",
        ),
        (HEAD + '[[rule]]\nname = 3\nactions = ["x"]\n', "line 3, rule 1, field 'name': got 3, expected a text"),
        (
            HEAD + '[[rule]]\nname = "a"\nactions = "x"\n',
            "line 4, rule 1, field 'actions': got 'x', expected a list of texts",
        ),
        (
            HEAD + '[[factor]]\nsource = "kWh"\ntarget = "t"\nfactor = -1\norigin = "x"\n',
            "line 5, factor 1, field 'factor': got -1, expected a number above 0",
        ),
        (
            HEAD + '[[factor]]\nsource = ""\ntarget = "t"\nfactor = 1\norigin = "x"\n',
            "line 3, factor 1, field 'source': got '', expected a text",
        ),
    ],
)
def test_a_fault_is_named_by_line_and_field(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        RuleBook.parse(text, name="mine.toml")
    assert str(caught.value).startswith(f"rule book mine.toml: {message}")


def test_what_is_no_toml_or_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"rule book rules: .*line 1.*; expected TOML"):
        RuleBook.parse("[[rule")
    with pytest.raises(ConfigError, match=r"rule book: got '.*none.toml' \(No such file.*\), expected"):
        RuleBook.read(tmp_path / "none.toml")
    (tmp_path / "mine.toml").write_text(GOOD)
    assert RuleBook.read(tmp_path / "mine.toml").rules[0].name == "any"
