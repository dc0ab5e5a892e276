"""`heliotrope deploy`, `promote`, `rollback`, `deployments`: change which version answers, and watch it."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import typer
from rich.live import Live
from rich.table import Table

from apps.cli.output import JsonOption, console, print_json, print_pairs, print_rows
from apps.cli.platform import EndpointOption, client_of
from apps.client.client import Client
from apps.reports.rollout_story import story
from cluster.errors import ConfigError, PermanentError
from cluster.registry.version import SemanticVersion
from cluster.settings import Settings
from cluster.storage.files import write_whole

app = typer.Typer(help="Rollouts of versions: canary, blue-green, rolling, immediate.", no_args_is_help=True)
PATH = "/api/deployments"
POLL_S = 1.0
ENDED = ("promoted", "rolled_back")
WhyOption = typer.Option("", help="The reason, for the history and the audit log.")
IdArgument = typer.Argument(help="A rollout's id from `heliotrope deployments list`.")


class RolledBack(PermanentError):  # noqa: N818 - what happened, not what failed
    """The new version was not good enough."""


def deploy(
    model: str = typer.Argument(help="A served model."),
    version: str = typer.Argument(help="A registered version such as 1.1.0."),
    policy: str = typer.Option("canary", help="canary, blue_green, rolling or immediate."),
    parameter: list[str] = typer.Option([], help="NAME=VALUE of the policy; a list as 0.05,0.5,1."),
    name: str | None = typer.Option(None, "--id", help="The rollout's name; made up where none is given."),
    why: str = WhyOption,
    approval: bool = typer.Option(False, help="Wait until somebody else approves."),
    force: str = typer.Option("", help="Why a policy is used that the profile refuses."),
    follow: bool = typer.Option(True, help="Watch it to its end; exit code 5 where it is rolled back."),
    endpoint: str | None = EndpointOption,
    as_json: bool = JsonOption,
) -> None:
    """Roll a version out over the one that answers now."""
    name = name or f"{model}-{version}-{uuid4().hex[:6]}"
    body = {
        "id": name,
        "model": model,
        "version": version,
        "policy": policy,
        "parameters": dict(map(_parameter, parameter)),
        "why": why,
        "approval": approval,
        "force": force,
    }
    with client_of(endpoint) as client:
        told = client.post(PATH, body, repeatable=True).json()
        if follow:
            _follow(client, name)
        elif as_json:
            print_json(told)
        else:
            console.print(f"Rollout [bold]{name}[/] has begun: `heliotrope deployments show {name} --follow`.")


def promote(rollout: str = IdArgument, why: str = WhyOption, endpoint: str | None = EndpointOption) -> None:
    """Make a rollout's version the one in production, without waiting for further evidence."""
    _order(rollout, "promote", why, endpoint)


def rollback(rollout: str = IdArgument, why: str = WhyOption, endpoint: str | None = EndpointOption) -> None:
    """Return all requests to the old version."""
    _order(rollout, "rollback", why, endpoint)


@app.command()
def approve(rollout: str = IdArgument, why: str = WhyOption, endpoint: str | None = EndpointOption) -> None:
    """Let a rollout begin that somebody else asked for."""
    _order(rollout, "approve", why, endpoint)


@app.command()
def pause(rollout: str = IdArgument, why: str = WhyOption, endpoint: str | None = EndpointOption) -> None:
    """Climb no further; guardrails go on."""
    _order(rollout, "pause", why, endpoint)


@app.command()
def resume(rollout: str = IdArgument, why: str = WhyOption, endpoint: str | None = EndpointOption) -> None:
    """Go on climbing."""
    _order(rollout, "resume", why, endpoint)


@app.command("list")
def list_rollouts(endpoint: str | None = EndpointOption, as_json: bool = JsonOption) -> None:
    """List rollouts, the newest first."""
    with client_of(endpoint) as client:
        found = client.get(f"{PATH}/history").json()["deployments"]
    if as_json:
        print_json(found)
        return
    rows = [
        {key: each[key] for key in ("id", "model", "old", "new", "state")}
        | {"weight": each["weights"][each["new"]], "begun": _time(each["created_s"]), "by": each["by"]}
        for each in found
    ]
    print_rows(rows, title="Rollouts", empty="No rollout yet: `heliotrope deploy MODEL VERSION`.")


@app.command()
def show(
    rollout: str = IdArgument,
    follow: bool = typer.Option(False, help="Watch it to its end."),
    endpoint: str | None = EndpointOption,
    as_json: bool = JsonOption,
) -> None:
    """Show a rollout: stage, weight, evidence, history."""
    with client_of(endpoint) as client:
        if follow:
            _follow(client, rollout)
            return
        told = _get(client, rollout)
    if as_json:
        print_json(told)
        return
    console.print(screen(told))
    print_pairs((_time(step["at_s"]), _step(step)) for step in told["history"])


@app.command("story")
def tell(rollout: str = IdArgument, endpoint: str | None = EndpointOption) -> None:
    """Tell a rollout as a text: the rise, the evidence, the breach, the way back, the check."""
    with client_of(endpoint) as client:
        for line in story(_get(client, rollout)):
            console.print(line, soft_wrap=True, markup=False, highlight=False)


@app.command()
def gate(
    model: str = typer.Argument(help="A registered model."),
    version: str = typer.Argument(help="A version such as 1.1.0."),
    as_json: bool = JsonOption,
) -> None:
    """List the evidence for and against a version, before it is approved."""
    from apps.rollouts.world import evidence_gate
    from cluster.registry.mlflow_registry import open_registry

    registry = open_registry(Settings.from_environment())
    items = evidence_gate(registry, model, SemanticVersion.parse(version))
    if as_json:
        print_json(items)
        return
    rows = [each | {"there": "yes" if each["there"] else "no", "detail": str(each["detail"])} for each in items]
    print_rows(rows, title=f"{model} {version}", empty="")


@app.command()
def plot(
    rollout: str = IdArgument,
    out: Path = typer.Option(Path("rollout.png"), help="Where the picture goes."),
    endpoint: str | None = EndpointOption,
) -> None:
    """Draw the evidence and the weight over time."""
    from apps.reports.rollout_plots import draw_rollout

    with client_of(endpoint) as client:
        write_whole(out, draw_rollout(_get(client, rollout)))
    console.print(f"{out}")


def _order(rollout: str, word: str, why: str, endpoint: str | None) -> None:
    with client_of(endpoint) as client:
        told = client.post(f"{PATH}/{rollout}/{word}", {"why": why}).json()
    print_pairs([("rollout", rollout), ("state", told["state"]), ("weights", told["weights"])])


def _get(client: Client, rollout: str) -> dict[str, Any]:
    told: dict[str, Any] = client.get(f"{PATH}/{rollout}").json()
    return told


def _follow(client: Client, rollout: str) -> None:
    """Show the rollout until it ends: one screen on a terminal, a line a change elsewhere."""
    seen = 0
    told = _get(client, rollout)
    with Live(screen(told), console=console, transient=True) as live:
        while True:
            live.update(screen(told))
            for step in told["history"][seen:]:
                live.console.print(f"{_time(step['at_s'])}  {_step(step)}", soft_wrap=True, markup=False)
            seen = len(told["history"])
            if told["state"] in ENDED:
                break
            time.sleep(POLL_S)
            told = _get(client, rollout)
    if told["state"] == "rolled_back":
        raise RolledBack(f"{told['model']} {told['new']} was rolled back: {_reason(told)}")


def screen(told: dict[str, Any]) -> Table:
    """Return a rollout as a table: where it stands, and each guardrail's evidence."""
    weight = told["weights"][told["new"]]
    state = f"{told['state'].replace('_', ' ')}{', paused' if told['paused'] else ''}"
    waits = f"; waits for {told['waiting_for']}" if told["waiting_for"] else ""
    title = (
        f"{told['model']}: {told['new']} over {told['old']}, {told['policy']['name']}, stage {told['stage'] + 1}, "
        f"weight {weight:.0%}, {state}{waits}"
    )
    table = Table(title=title, title_justify="left", header_style="bold")
    for column in ("guardrail", "new", "old", "allowed", "evidence", ""):
        table.add_column(column, justify="left" if column in ("guardrail", "") else "right")
    for each in told["findings"]:
        share = max(0.0, each["log_evidence"] / each["log_limit"])
        place = f" ({each['segment']})" if each["segment"] else ""
        numbers = [f"{each[key]:.4g}" for key in ("new", "old", "allowed")]
        bar = "#" * round(20 * min(1.0, share))
        table.add_row(f"{each['guardrail']}{place}", *numbers, f"{share:.0%}", bar)
    return table


def _reason(told: dict[str, Any]) -> str:
    reasons = [step["why"] for step in told["history"] if step["what"] in ("rolling back", "rolled back")]
    return reasons[0] if reasons else "no reason given"


def _step(step: dict[str, Any]) -> str:
    by = f" by {step['by']}" if step["by"] else ""
    why = f": {step['why']}" if step["why"] else ""
    return f"{step['what']}{by}, weight {step['weight']:.0%}{why}"


def _parameter(text: str) -> tuple[str, Any]:
    name, found, value = text.partition("=")
    if not found:
        raise ConfigError(f"--parameter: got '{text}', expected NAME=VALUE such as min_stage_s=60")
    numbers = [_number(part) for part in value.split(",")]
    return name, numbers if len(numbers) > 1 else numbers[0]


def _number(text: str) -> float | int:
    try:
        return int(text)
    except ValueError:
        try:
            return float(text)
        except ValueError as error:
            raise ConfigError(f"--parameter: got '{text}', expected a number") from error


def _time(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%d %H:%M:%S")
