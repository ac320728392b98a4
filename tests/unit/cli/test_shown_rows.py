"""Rows on terminals of any width: a table or lines, and no value is squeezed, broken or cut."""

from __future__ import annotations

import io

from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from driftloop.cli._rows import Column, print_pairs, print_rows

DIGEST = "4a17af6a7a60aa4c6e7eb72cc6c94a25e2b6ace6e74cfb1d322b7c4e792b1011"
NAMES = st.text("abcdefghijklmnopqrstuvwxyz-_:@äß数", min_size=1, max_size=30)
SENTENCES = st.lists(NAMES, max_size=30).map(" ".join)


def console(width: int) -> tuple[Console, io.StringIO]:
    out = io.StringIO()
    return Console(file=out, width=width, highlight=False), out


def shown(columns: list[Column], rows: list[list[str | Text]], width: int, title: str = "") -> list[str]:
    into, out = console(width)
    print_rows(into, columns, rows, title)
    return [line.rstrip() for line in out.getvalue().splitlines()]


@settings(max_examples=150, deadline=None)
@given(
    width=st.integers(60, 200),
    names=st.lists(NAMES, min_size=1, max_size=6),
    sentence=st.booleans(),
    data=st.data(),
)
def test_every_value_is_there_whole_at_any_width(
    width: int, names: list[str], sentence: bool, data: st.DataObject
) -> None:
    columns = [Column(name, right=number % 2 == 1) for number, name in enumerate(names)]
    if sentence:
        columns.append(Column("what it says", said="", sentence=True))
    rows: list[list[str | Text]] = []
    for _ in range(data.draw(st.integers(1, 3))):
        cells: list[str | Text] = [data.draw(NAMES) for _ in names]
        rows.append([*cells, *([data.draw(SENTENCES)] if sentence else [])])
    lines = shown(columns, rows, width)
    assert max(map(cell_len, lines)) <= width
    words = [word for line in lines for word in line.split()]
    for row in rows:
        for cell in row:
            for word in str(cell).split():
                assert word in words
    assert "…" not in "".join(lines)


def test_a_table_where_it_fits_and_lines_where_not() -> None:
    columns = [
        Column("run", said=""),
        Column("model"),
        Column("seconds", right=True),
        Column("what it says", said="", sentence=True),
    ]
    rows: list[list[str | Text]] = [
        ["d648f07976d5", "flights-delay", "13.1", "mae on 5,068 later rows is better by 0.9625 at 95 %"],
        ["125c07363127", "late", "", ""],
    ]
    assert shown(columns, rows, 80) == [
        "run           model          seconds  what it says",
        "d648f07976d5  flights-delay     13.1  mae on 5,068 later rows is better by",
        "                                      0.9625 at 95 %",
        "125c07363127  late",
    ]
    assert shown(columns, rows, 60) == [
        "d648f07976d5  model flights-delay  seconds 13.1",
        "    mae on 5,068 later rows is better by 0.9625 at 95 %",
        "125c07363127  model late",
    ]
    assert shown(columns, rows, 40, "Runs") == [
        "Runs",
        "d648f07976d5  model flights-delay",
        "    seconds 13.1",
        "    mae on 5,068 later rows is better by",
        "    0.9625 at 95 %",
        "125c07363127  model late",
    ]


def test_what_comes_from_outside_is_neither_markup_nor_a_control() -> None:
    lines = shown([Column("model"), Column("[b]")], [["[red]m[/]", "\x1b[2Jv1"]], 80)
    assert lines == ["model      [b]", "[red]m[/]  \ufffd[2Jv1"]


def test_a_long_value_is_one_that_can_be_copied() -> None:
    uri = f"s3://a-bucket-with-a-name/in/a/folder/{DIGEST}.parquet"
    into, out = console(80)
    print_pairs(into, [("spec", DIGEST), ("file", uri), ("rows", "18,286 (0 superseded), " + "predicted " * 9)])
    lines = out.getvalue().splitlines()
    assert lines[:3] == [f"spec: {DIGEST}", "file:", f"  {uri}"]
    assert all(len(line) <= 80 for line in lines[3:])
