"""A search for anomalies on one page: pictures, ranked alarms with their reasons, who judged."""

from __future__ import annotations

from typing import Any

from apps.anomaly.detection import Detection
from apps.reports.page import Picture, Section, Share, Table, page
from training.alarms.event import Event
from training.alarms.judged import JudgedSeries

MOST_PICTURED = 6
"""Series with pictures of their own, those with the most severe alarms first."""


def anomaly_page(*, source: str, found: Detection) -> str:
    """Return the HTML document.

    Parameters
    ----------
    source
        What was searched.
    found
        What came out.
    """
    alarms, count = found.alarms, len(found.series)
    lead = (
        f"{len(alarms)} alarm{'s' * (len(alarms) != 1)} from {count} series, judged by '{found.detector}'; a "
        f"series may raise {found.alarms_per_month:g} false ones a month."
    )
    sections = [_overview(found), Section(title="Alarms", parts=[_ranked(found), *_explained(found)])]
    sections += [_pictured(each) for each in worst_first(found)[:MOST_PICTURED]]
    quiet = [event for event in found.events if event.status != "alarm"]
    if quiet:
        rows = [_short(event) | {"why nobody is told": event.status_reason} for event in quiet]
        sections.append(Section(title="Kept quiet", parts=[Table(caption="Events", rows=rows, folded=True)]))
    return page(f"Anomalies of {source}", lead, sections)


def _overview(found: Detection) -> Section:
    rows: list[dict[str, Any]] = [
        {
            "series": each.series,
            "learned from": each.learned_rows,
            "judged": len(each.times),
            "from": str(each.times[0])[:16].replace("T", " "),
            "to": str(each.times[-1])[:16].replace("T", " "),
            "months": each.months,
            "alarms": len(each.alarms),
            "quiet": len(each.events) - len(each.alarms),
        }
        for each in found.series
    ]
    parts: list[Table | Picture | str] = [
        Table(caption="Rows that taught what is normal, and those judged", rows=rows)
    ]
    if found.alarms:
        from apps.reports.anomaly_plots import timeline

        caption = "Each dot is an alarm at its peak, its bar the time from start to end; below, how many came."
        parts.insert(0, Picture(png=timeline(found), caption=caption))
    parts += [f"{name} could not be judged: {error.message}" for name, error in found.errors.items()]
    return Section(title="Overview", parts=parts)


def _ranked(found: Detection) -> Table:
    rows = [{"": place} | _short(event) for place, event in enumerate(found.alarms, start=1)]
    return Table(caption="Alarms, the most severe first", rows=rows)


def _short(event: Event) -> dict[str, Any]:
    return {
        "severity": event.severity,
        "type": event.type,
        "series": event.series,
        "start": str(event.start),
        "end": str(event.end),
        "main factor": event.factors[0].sentence(),
    }


def _explained(found: Detection) -> list[Table]:
    return [
        Table(
            caption=f"{place}. {event.severity} {event.type} event of {event.series}, peak {event.peak}",
            rows=[{"what": what, "told": told} for what, told in _facts(event)],
            folded=place > 1,
        )
        for place, event in enumerate(found.alarms, start=1)
    ]


def _facts(event: Event) -> list[tuple[str, str]]:
    return [
        ("id", event.id),
        ("why this severity", event.rating.reason),
        *((f"{name}, since", reason) for name, reason in event.types.items()),
        *(("factor", factor.sentence()) for factor in event.factors),
        *(("impact", f"{each.amount:+.4g} {each.unit}: {each.basis}") for each in event.impacts),
        *(("what to do", f"{action.text} (rule '{action.rule}')") for action in event.actions),
        *(
            ("similar", f"{past.event} ({past.similarity:.0%}), {past.outcome}: {past.note or past.summary}")
            for past in event.similar
        ),
    ]


def worst_first(found: Detection) -> list[JudgedSeries]:
    """Return the series, those with the most severe alarms first."""
    points = {each.series: max((e.rating.points for e in each.alarms), default=-1.0) for each in found.series}
    return sorted(found.series, key=lambda each: -points[each.series])


def _pictured(series: JudgedSeries) -> Section:
    from apps.reports.anomaly_plots import agreement, close_ups, events_on_series

    parts: list[Table | Picture | str] = [
        Picture(
            png=events_on_series(series),
            caption="The judged rows; alarms are shaded by severity and numbered by it, within this series.",
        )
    ]
    if series.alarms:
        caption = "The alarms close up, each by the column that is most about it, with what would have been normal."
        parts.append(Picture(png=close_ups(series), caption=caption))
    if series.members:
        caption = (
            "Surprise is minus the logarithm of how often a score as high is seen while all is as usual: 7 nats "
            "are one row in a thousand. In brackets, how much each counts."
        )
        parts.append(Picture(png=agreement(series), caption=caption))
        rows = [{"detector": s["member"], "weight": Share(s["weight"]), "why": s["why"]} for s in series.says]
        parts.append(Table(caption="Who judged", rows=rows))
    return Section(title=series.series, parts=parts)
