"""What README and guides say is true: their Python runs, their commands exist with the options shown."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer.main

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(language: str) -> list[tuple[str, str]]:
    found = []
    for page in PAGES:
        for number, text in enumerate(re.findall(rf"```{language}\n(.*?)```", page.read_text(), flags=re.DOTALL)):
            found.append((f"{page.name}-{number}", text))
    return found


def commands() -> list[str]:
    lines = [line for _, text in blocks("bash") for line in text.replace("\\\n", " ").splitlines()]
    return [line for line in lines if line.startswith("heliotrope")]


@pytest.mark.parametrize("text", [pytest.param(text, id=name) for name, text in blocks("python")])
def test_python_blocks_run(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    exec(compile(text, "README", "exec"), {"__name__": "readme"})


@pytest.mark.parametrize("line", commands())
def test_commands_parse(line: str) -> None:
    from apps.cli.main import app

    words = shlex.split(line, comments=True)[1:]
    command = typer.main.get_command(app)
    while subcommands := getattr(command, "commands", None):
        assert words[0] in subcommands, f"no command '{words[0]}'"
        command, words = subcommands[words[0]], words[1:]
    command.make_context("heliotrope", words)


@pytest.mark.parametrize("page", [pytest.param(page, id=page.name) for page in PAGES])
def test_links_lead_somewhere(page: Path) -> None:
    links = [link for link in re.findall(r"\]\(([^)]+)\)", page.read_text()) if "://" not in link]
    for link in links:
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        titles = re.findall(r"(?m)^#+ (.+)$", target.read_text()) if anchor else []
        assert not anchor or anchor in {title.lower().replace(" ", "-") for title in titles}, link
