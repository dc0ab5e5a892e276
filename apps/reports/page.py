"""A page of text, tables and pictures as one file: no script, no link, nothing fetched."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #1a1a1a; background: #fff; max-width: 70rem;
  margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.7rem; margin-bottom: 0 } h2 { font-size: 1.25rem; margin-top: 2.5rem }
p.lead { color: #555; margin-top: .25rem }
table { border-collapse: collapse; margin: 1rem 0; font-size: .92rem }
caption { text-align: left; font-weight: 600; padding-bottom: .4rem }
th, td { border-bottom: 1px solid #ddd; padding: .3rem .8rem .3rem 0; text-align: left; vertical-align: top;
  overflow-wrap: anywhere }
td.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
figure { margin: 1.5rem 0 } figure img { max-width: 100%; height: auto }
figcaption { color: #555; font-size: .92rem }
@media print { body { max-width: none } figure { break-inside: avoid } }
"""


class Share(float):
    """A number that is read in percent."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows under a caption.

    Parameters
    ----------
    caption
        Says what the rows are.
    rows
        Each column -> value; numbers to four digits, None as a dash. All have the first row's columns.
    """

    caption: str
    rows: Sequence[Mapping[str, Any]]

    @classmethod
    def of(cls, caption: str, facts: Mapping[str, Any]) -> Table:
        """Return a table of two columns."""
        return cls(caption=caption, rows=[{"what": name, "value": value} for name, value in facts.items()])

    def html(self) -> str:
        """Return the table's element."""
        names = list(self.rows[0]) if self.rows else []
        head = "".join(f'<th scope="col">{escape(name)}</th>' for name in names)
        body = "".join(f"<tr>{''.join(_cell(row.get(name)) for name in names)}</tr>\n" for row in self.rows)
        return (
            f"<table><caption>{escape(self.caption)}</caption>\n"
            f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody></table>"
            if names
            else f"<p>{escape(self.caption)}: none.</p>"
        )


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A PNG and what it shows.

    Parameters
    ----------
    png
        The file's bytes.
    caption
        Stands below it, and is read out in its place.
    """

    png: bytes
    caption: str

    def html(self) -> str:
        """Return the figure's element, the picture inside."""
        data, text = base64.b64encode(self.png).decode(), escape(self.caption, quote=True)
        return (
            f'<figure><img src="data:image/png;base64,{data}" alt="{text}"><figcaption>{text}</figcaption></figure>'
        )


@dataclass(frozen=True, kw_only=True)
class Section:
    """A heading and what stands under it.

    Parameters
    ----------
    title
        The heading.
    parts
        Tables, pictures, and text as paragraphs, in order.
    """

    title: str
    parts: Sequence[Table | Picture | str]

    def html(self) -> str:
        """Return the section's element."""
        parts = (f"<p>{escape(part)}</p>" if isinstance(part, str) else part.html() for part in self.parts)
        return "\n".join((f"<section>\n<h2>{escape(self.title)}</h2>", *parts, "</section>"))


def page(title: str, lead: str, sections: Sequence[Section]) -> str:
    """Return a whole HTML document; all text is escaped."""
    body = "\n".join(section.html() for section in sections)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        f'<h1>{escape(title)}</h1>\n<p class="lead">{escape(lead)}</p>\n{body}\n</body>\n</html>\n'
    )


def _cell(value: Any) -> str:
    if value is None:
        return "<td>-</td>"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return f"<td>{escape(str(value))}</td>"
    shown = f"{value:,}" if isinstance(value, int) else f"{value:.4g}"
    return f'<td class="number">{shown}</td>'
