"""Rows on the terminal: a table where it fits, else a few lines for each row. No value is squeezed or cut."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from driftloop.cli._tables import printable

__all__ = ["Column", "print_pairs", "print_rows"]

_GAP = 2
_INDENT = 4
#: A sentence in a column of fewer cells is hard to read.
_SENTENCE_WIDTH = 36


@dataclass(frozen=True)
class Column:
    """``said``: what stands before a value where there is no heading above it; None: the heading, "": nothing.

    ``sentence``: its texts are folded to the width that the other columns leave, and come last.
    """

    name: str
    right: bool = False
    said: str | None = None
    sentence: bool = False


def print_rows(
    console: Console, columns: Sequence[Column], rows: Iterable[Sequence[str | Text]], title: str = ""
) -> None:
    """Print rows of one cell for each column, under ``title``. Where the table would be wider than the terminal, each
    row is a line of values (longer than the terminal: several, broken between values) with its sentence below."""
    cells = [[_cell(cell) for cell in row] for row in rows]
    if title:
        console.print(Text(title, "italic"))
    if _width(columns, cells) <= console.width:
        console.print(_table(columns, cells))
        return
    for row in cells:
        for line in _lines(columns, row, console.width):
            console.print(line, overflow="fold")
        for column, cell in zip(columns, row, strict=True):
            if column.sentence and cell.plain:
                console.print(Padding(_said(column, cell), (0, 0, 0, _INDENT)), overflow="fold")


def print_pairs(console: Console, pairs: Iterable[tuple[str, str]]) -> None:
    """A name and its value a line; a value without spaces that does not fit there stands whole on a line of its own,
    so that it can be copied."""
    for name, value in pairs:
        shown = printable(value)
        if len(name) + 2 + cell_len(shown) > console.width and " " not in shown:
            console.print(Text(f"{name}:"))
            console.print(Text(f"  {shown}"), soft_wrap=True)
        else:
            console.print(Text(f"{name}: {shown}"), overflow="fold")


def _cell(cell: str | Text) -> Text:
    return cell if isinstance(cell, Text) else Text(printable(cell))


def _width(columns: Sequence[Column], cells: Sequence[Sequence[Text]]) -> int:
    """Cells that the table needs so that nothing but sentences is folded."""
    total = _GAP * (len(columns) - 1)
    for at, column in enumerate(columns):
        widest = max([cell_len(column.name), *(row[at].cell_len for row in cells)])
        total += min(widest, _SENTENCE_WIDTH) if column.sentence else widest
    return total


def _table(columns: Sequence[Column], cells: Iterable[Sequence[Text]]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="bold")
    for column in columns:
        if column.sentence:
            table.add_column(Text(column.name), overflow="fold")
        else:
            table.add_column(Text(column.name), justify="right" if column.right else "left", no_wrap=True)
    for row in cells:
        table.add_row(*row)
    return table


def _lines(columns: Sequence[Column], row: Sequence[Text], width: int) -> Iterator[Text]:
    """The values in lines that are not wider than the terminal, the second and later ones indented."""
    line = Text()
    for column, cell in zip(columns, row, strict=True):
        if column.sentence or not cell.plain:
            continue
        value = _said(column, cell)
        if line.plain.strip() and line.cell_len + _GAP + value.cell_len > width:
            yield line
            line = Text(" " * _INDENT)
        elif line.plain:
            line.append(" " * _GAP)
        line.append_text(value)
    yield line


def _said(column: Column, cell: Text) -> Text:
    said = column.name if column.said is None else column.said
    return Text.assemble(said, " " if said else "", cell)
