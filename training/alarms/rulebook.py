"""What to do about an event: a book of rules that a user edits, in TOML."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any, Self

from cluster.errors import ConfigError
from training.alarms.event_types import TYPES, EventType
from training.alarms.impact import Conversion
from training.alarms.severity import SEVERITIES, Severity

DEFAULT = Path(__file__).with_name("rules.toml")
VERSION = 1
MOST_ACTIONS = 5
MOST_BYTES = 1_000_000
TABLES = {"rule": ("name", "types", "columns", "units", "severity", "actions"),
          "factor": ("source", "target", "factor", "origin")}  # fmt: skip
NEEDED = {"rule": ("name", "actions"), "factor": ("source", "target", "factor", "origin")}


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One entry of the book.

    Parameters
    ----------
    name
        For the reader.
    types, columns, units
        One of each must fit; none given fits all. Columns are patterns with * and ?.
    severity
        The event's must be this or worse.
    actions
        What to do, the most urgent first.
    """

    name: str
    types: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    units: tuple[str, ...] = ()
    severity: Severity = "low"
    actions: tuple[str, ...]

    @property
    def specific(self) -> int:
        """How many conditions it has."""
        return sum(map(bool, (self.types, self.columns, self.units))) + (self.severity != "low")

    def fits(self, types: tuple[EventType, ...], columns: dict[str, str], severity: Severity) -> bool:
        """Say whether it fits an event of some types and a severity, whose factors are `columns`, name -> unit."""
        return (
            (not self.types or bool(set(self.types) & set(types)))
            and (not self.columns or any(fnmatchcase(name, each) for name in columns for each in self.columns))
            and (not self.units or bool(set(self.units) & set(columns.values())))
            and SEVERITIES.index(severity) >= SEVERITIES.index(self.severity)
        )


@dataclass(frozen=True, kw_only=True)
class Action:
    """Something to do, and the rule that says so."""

    text: str
    rule: str


@dataclass(frozen=True, kw_only=True)
class RuleBook:
    """All rules, in the order of the file.

    Parameters
    ----------
    rules
        What to do when.
    conversions
        What a unit costs in another.
    """

    rules: tuple[Rule, ...]
    conversions: tuple[Conversion, ...] = ()

    @classmethod
    def read(cls, path: Path | None = None) -> Self:
        """Read a book; the one that ships where `path` is None.

        Raises
        ------
        ConfigError
            The file is not there, or something in it is wrong: line, entry and field are named.
        """
        file = path or DEFAULT
        try:
            raw = file.read_bytes()
        except OSError as error:
            raise ConfigError(f"rule book: got '{file}' ({error.strerror}), expected a TOML file") from error
        if len(raw) > MOST_BYTES:
            raise ConfigError(f"rule book {file.name}: got {len(raw)} bytes, expected at most {MOST_BYTES}")
        return cls.parse(raw.decode("utf-8", errors="replace"), name=file.name)

    @classmethod
    def parse(cls, text: str, *, name: str = "rules") -> Self:
        """Read a book from its text; see `read`."""
        try:
            data = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            where = str(error).replace("end of document", f"line {len(text.splitlines())}, end of document")
            raise ConfigError(f"rule book {name}: {where}; expected TOML") from error
        page = _Page(name, text)
        for key in data:
            if key not in ("version", *TABLES):
                raise page.fault(None, 0, key, f"'{key}'", f"one of version, {', '.join(TABLES)}")
        if data.get("version") != VERSION:
            raise page.fault(None, 0, "version", repr(data.get("version")), str(VERSION))
        rules = tuple(_rule(page, at, entry) for at, entry in enumerate(page.entries(data, "rule")))
        factors = tuple(_factor(page, at, entry) for at, entry in enumerate(page.entries(data, "factor")))
        return cls(rules=rules, conversions=factors)

    def actions(
        self, types: tuple[EventType, ...], columns: dict[str, str], severity: Severity
    ) -> tuple[Action, ...]:
        """Return up to five actions, those of the most specific rules first; see `Rule.fits`."""
        fitting = [rule for rule in self.rules if rule.fits(types, columns, severity)]
        fitting.sort(key=lambda rule: -rule.specific)  # stable: the file's order among equals
        found = {text: Action(text=text, rule=rule.name) for rule in reversed(fitting) for text in rule.actions}
        ordered = dict.fromkeys(text for rule in fitting for text in rule.actions)
        return tuple(found[text] for text in ordered)[:MOST_ACTIONS]


@cache
def default_book() -> RuleBook:
    """Return the book that ships."""
    return RuleBook.read()


class _Page:
    """A book's text, for faults that say where."""

    def __init__(self, name: str, text: str) -> None:
        self.name, self.lines = name, text.splitlines()

    def entries(self, data: dict[str, Any], table: str) -> list[dict[str, Any]]:
        entries = data.get(table, [])
        if not isinstance(entries, list) or not all(isinstance(each, dict) for each in entries):
            raise self.fault(None, 0, table, "something else", f"[[{table}]] entries")
        for at, entry in enumerate(entries):
            for key in entry:
                if key not in TABLES[table]:
                    raise self.fault(table, at, key, f"'{key}'", f"one of {', '.join(TABLES[table])}")
            for key in NEEDED[table]:
                if key not in entry:
                    raise self.fault(table, at, key, "nothing", f"a value for '{key}'")
        return entries

    def fault(self, table: str | None, at: int, field: str, got: str, expected: str) -> ConfigError:
        line = self._line(table, at, field)
        entry = f", {table} {at + 1}" if table else ""
        return ConfigError(
            f"rule book {self.name}: line {line}{entry}, field '{field}': got {got}, expected {expected}",
            line=line,
            field=field,
        )

    def _line(self, table: str | None, at: int, field: str) -> int:
        """Return the line of a field, of its entry's head where it is not there, 1 where nothing is."""
        heads = [n for n, line in enumerate(self.lines) if re.match(rf"\s*\[\[\s*{table}\s*\]\]", line)]
        start = heads[at] + 1 if at < len(heads) else 0
        for n in range(start, len(self.lines)):
            if re.match(rf"\s*[\"']?{re.escape(field)}[\"']?\s*=", self.lines[n]):
                return n + 1
            if table and re.match(r"\s*\[", self.lines[n]) and not re.match(r"\s*\[[^\[]*\],?\s*$", self.lines[n]):
                break
        return max(start, 1)


def _rule(page: _Page, at: int, entry: dict[str, Any]) -> Rule:
    for key in ("types", "columns", "units", "actions"):
        texts = entry.get(key, [])
        if not isinstance(texts, list) or not all(isinstance(each, str) and each for each in texts):
            raise page.fault("rule", at, key, repr(texts), "a list of texts")
    for each in entry.get("types", []):
        if each not in TYPES:
            raise page.fault("rule", at, "types", f"'{each}'", f"one of {', '.join(TYPES)}")
    if entry.get("severity", "low") not in SEVERITIES:
        raise page.fault("rule", at, "severity", repr(entry["severity"]), f"one of {', '.join(SEVERITIES)}")
    if not isinstance(entry["name"], str) or not entry["name"]:
        raise page.fault("rule", at, "name", repr(entry["name"]), "a text")
    if not entry["actions"]:
        raise page.fault("rule", at, "actions", "none", "one or more")
    lists = {key: tuple(entry.get(key, ())) for key in ("types", "columns", "units", "actions")}
    return Rule(name=entry["name"], severity=entry.get("severity", "low"), **lists)


def _factor(page: _Page, at: int, entry: dict[str, Any]) -> Conversion:
    for key in ("source", "target", "origin"):
        if not isinstance(entry[key], str) or not entry[key]:
            raise page.fault("factor", at, key, repr(entry[key]), "a text")
    value = entry["factor"]
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
        raise page.fault("factor", at, "factor", repr(value), "a number above 0")
    return Conversion(source=entry["source"], target=entry["target"], factor=float(value), origin=entry["origin"])
