"""The page as one HTML file: no scripts, nothing from elsewhere, everything that came from outside escaped."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from html import escape

from driftloop.audit.page import Grid, Section

__all__ = ["html_page"]

_STYLE = """
@page { size: A4; margin: 10mm }
* { box-sizing: border-box }
body { margin: 0 auto; padding: 16px; max-width: 1100px; color: #1b1f24; background: #fff;
  font: 13px/1.4 system-ui, "Segoe UI", "DejaVu Sans", sans-serif }
h1 { font-size: 18px; margin: 0 0 2px; overflow-wrap: anywhere }
h2 { font-size: 13px; margin: 0 0 4px; padding-bottom: 2px; border-bottom: 1px solid #c9d1d9 }
header p { margin: 0 0 10px; color: #57606a }
section { margin: 0 0 12px; break-inside: avoid-page }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 0 12px; margin: 0 0 4px }
dt { color: #57606a } dd { margin: 0; overflow-wrap: anywhere }
table { width: 100%; border-collapse: collapse; margin: 0 0 4px }
th { text-align: left; font-weight: 600; color: #57606a }
th, td { padding: 1px 8px 1px 0; vertical-align: top; overflow-wrap: anywhere }
tbody tr:nth-child(odd) { background: #f6f8fa }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
p { margin: 0 0 2px; overflow-wrap: anywhere }
@media print { body { padding: 0; max-width: none; font-size: 8pt; line-height: 1.25 } section { margin-bottom: 6px }
  h1 { font-size: 12pt } h2 { font-size: 9pt } tbody tr:nth-child(odd) { background: none } }
""".strip()


def html_page(title: str, subtitle: str, sections: Iterable[Section]) -> str:
    """A whole document in UTF-8.

    >>> "<script>" in html_page("<script>", "", [Section(title="a", sentences=["<script>"])])
    False
    """
    return "\n".join(_lines(title, subtitle, sections)) + "\n"


def _lines(title: str, subtitle: str, sections: Iterable[Section]) -> Iterator[str]:
    yield "<!doctype html>"
    yield '<html lang="en"><head><meta charset="utf-8">'
    # Nothing is loaded and nothing runs, whatever a feature's value says.
    yield "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f"<title>{_safe(title)}</title>"
    yield f"<style>{_STYLE}</style></head><body>"
    yield f"<header><h1>{_safe(title)}</h1><p>{_safe(subtitle)}</p></header>"
    for section in sections:
        yield f"<section><h2>{_safe(section.title)}</h2>"
        if section.facts:
            facts = "".join(f"<dt>{_safe(name)}</dt><dd>{_safe(value)}</dd>" for name, value in section.facts)
            yield f"<dl>{facts}</dl>"
        for grid in section.grids:
            yield from _table(grid)
        for sentence in section.sentences:
            yield f"<p>{_safe(sentence)}</p>"
        yield "</section>"
    yield "</body></html>"


def _table(grid: Grid) -> Iterator[str]:
    yield f"<table><thead><tr>{_cells('th', grid.columns, grid.right)}</tr></thead><tbody>"
    for row in grid.rows:
        yield f"<tr>{_cells('td', row, grid.right)}</tr>"
    yield "</tbody></table>"


def _cells(tag: str, texts: Iterable[str], right: Iterable[int]) -> str:
    numbers = set(right)
    return "".join(
        f'<{tag} class="number">{_safe(text)}</{tag}>' if at in numbers else f"<{tag}>{_safe(text)}</{tag}>"
        for at, text in enumerate(texts)
    )


def _safe(text: str) -> str:
    """Escaped, and without what is not printable, such as marks that turn the direction of writing."""
    return escape("".join(letter if letter.isprintable() else "\ufffd" for letter in text))
