"""Draws the view: a live screen in a terminal, plain lines elsewhere."""

from __future__ import annotations

from typing import Protocol

from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from driftloop.demo.view import DemoView, RateMeter, WindowLine
from driftloop.events.reports import MetricReport
from driftloop.events.time import format_time

__all__ = ["LiveScreen", "PlainScreen", "Screen", "open_screen", "render"]

_STYLES = {
    "alert": "yellow",
    "retrain": "cyan",
    "promoted": "green",
    "rejected": "magenta",
    "failed": "red",
    "held": "yellow",
    "rolled_back": "red",
    "swap": "bold green",
}
_PLAIN_S = 5.0


class Screen(Protocol):
    """Shows the view; ``news`` are lines that must not be missed."""

    def show(self, view: DemoView, *, now_s: float) -> None: ...

    def news(self, line: str) -> None: ...

    def __enter__(self) -> Screen: ...

    def __exit__(self, *_: object) -> None: ...


def open_screen(console: Console, title: str) -> Screen:
    """Live in a terminal that can move its cursor, plain lines otherwise."""
    return LiveScreen(console, title) if console.is_terminal and not console.is_dumb_terminal else PlainScreen(console)


class PlainScreen:
    """A line every few seconds, and the news as they come."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._rate = RateMeter()
        self._shown_s: float | None = None

    def show(self, view: DemoView, *, now_s: float) -> None:
        rate = self._rate.update(now_s, view.processed)
        if self._shown_s is not None and now_s - self._shown_s < _PLAIN_S:
            return
        self._shown_s = now_s
        holding = f"; {view.holding}" if view.holding else ""
        line = (
            f"{format_time(view.clock_ms)[:10]}  {view.published:,} events published, lag {view.lag:,}, {rate:,.0f}/s, "
            f"{view.counts['windows']} windows final, {len(view.open_alerts)} alerts open{holding}"
        )
        self.news(line)

    def news(self, line: str) -> None:
        self._console.print(line, highlight=False, soft_wrap=True, markup=False)

    def __enter__(self) -> PlainScreen:
        return self

    def __exit__(self, *_: object) -> None:
        return


class LiveScreen:
    """The whole view, drawn anew four times a second."""

    def __init__(self, console: Console, title: str) -> None:
        self._title = title
        self._rates = (RateMeter(), RateMeter())
        self._live = Live(console=console, auto_refresh=False, transient=True)
        self._drawn_s = 0.0

    def show(self, view: DemoView, *, now_s: float) -> None:
        if now_s - self._drawn_s < 0.25:
            return
        self._drawn_s = now_s
        published = self._rates[0].update(now_s, view.published)
        processed = self._rates[1].update(now_s, view.processed)
        self._live.update(render(view, self._title, published, processed), refresh=True)

    def news(self, line: str) -> None:
        """The screen shows the view's own news."""

    def __enter__(self) -> LiveScreen:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()


def render(view: DemoView, title: str, published: float, processed: float) -> RenderableType:
    """The screen as rich draws it. ``published`` and ``processed`` are events a second."""
    return Group(_header(view, title, published, processed), _windows(view), _news(view))


def _header(view: DemoView, title: str, published: float, processed: float) -> RenderableType:
    bar = Table.grid(padding=(0, 1), expand=True)
    bar.add_column()
    bar.add_column(ratio=1)
    bar.add_column(justify="right")
    done = min(max(view.clock_ms - view.from_ms, 0), view.to_ms - view.from_ms)
    share = done / (view.to_ms - view.from_ms)
    progress = ProgressBar(total=1.0, completed=share, width=None)
    bar.add_row(Text(format_time(view.clock_ms)[:10], "bold"), progress, f"{share:.0%}")
    rates = Text.assemble(
        (f"{published:,.0f}", "bold"), " events/s published   ",
        (f"{processed:,.0f}", "bold"), " events/s read   lag ",
        (f"{view.lag:,}", "bold"), "   total ",
        (f"{view.processed:,}", "bold"), "   dead letters ",
        (f"{view.dead_letters}", "bold red" if view.dead_letters else "bold"),
    )  # fmt: skip
    counts = Text.assemble(
        (f"{view.counts['windows']:,}", "bold"), " windows final   ",
        (f"{view.counts['alerts']:,}", "bold"), " alerts, ", (f"{len(view.open_alerts)}", "bold yellow"), " open   ",
        (f"{view.counts['commands']}", "bold cyan"), " retrain commands   ",
        (f"{view.counts['promoted']}", "bold green"), " promoted, ",
        (f"{view.counts['rejected'] + view.counts['failed']}", "bold magenta"), " rejected",
    )  # fmt: skip
    state = Text(view.holding or "the clock runs", "yellow" if view.holding else "green")
    return Panel(Group(bar, rates, counts, state), title=title, border_style="blue", box=box.ROUNDED)


def _windows(view: DemoView) -> RenderableType:
    table = Table(box=box.SIMPLE_HEAD, expand=True, pad_edge=False)
    for name, justify in (("model", "left"), ("version", "left"), ("window", "left"), ("rows", "right")):
        table.add_column(name, justify="right" if justify == "right" else "left", no_wrap=True)
    table.add_column("labels", justify="right", no_wrap=True)
    # In a narrow terminal these give way to the others: rich takes from the widest of the columns that may wrap.
    for name in ("metric [95 %]", "over the last windows", "drift"):
        table.add_column(Text(name, no_wrap=True), overflow="ellipsis")
    for model_id in sorted(view.windows):
        for line in sorted(view.windows[model_id].values(), key=lambda line: (line.window_start_ms, line.version)):
            table.add_row(*_window_cells(line))
        table.add_section()
    if not view.windows:
        table.add_row("", "", "no window is final yet", "", "", "", "", "")
    return table


def _window_cells(line: WindowLine) -> tuple[RenderableType, ...]:
    drift = Text(f"{len(line.drifted)}/{line.judged} ", "dim", no_wrap=True)
    if line.drifted:
        drift.append(", ".join(line.drifted), "yellow")
    labels = "" if line.coverage is None else f"{line.coverage:.0%}"
    day = format_time(line.window_start_ms)[:10]
    return line.model_id, line.version, day, f"{line.rows:,}", labels, _metric(line.metric), _rule(line.trailing), drift


def _metric(metric: MetricReport | None) -> Text:
    if metric is None or metric.value is None:
        return Text("")
    digits = 3 if metric.metric != "mae" else 1
    interval = ""
    if metric.low is not None and metric.high is not None:
        interval = f" [{metric.low:.{digits}f}, {metric.high:.{digits}f}]"
    return Text(f"{metric.metric} {metric.value:.{digits}f}{interval}", no_wrap=True)


def _rule(metric: MetricReport | None) -> Text:
    if metric is None or metric.value is None:
        return Text("")
    digits = 1 if metric.metric.startswith("mae") else 3
    reference = "" if metric.reference is None else f" (reference {metric.reference:.{digits}f})"
    style = "red" if metric.decision == "drift" else ""
    return Text(f"{metric.metric} {metric.value:.{digits}f}{reference}", style, no_wrap=True)


def _news(view: DemoView) -> RenderableType:
    table = Table.grid(padding=(0, 1), expand=True)
    table.add_column(no_wrap=True, style="dim")
    table.add_column(no_wrap=True)
    table.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
    for time_ms, kind, text in view.news:
        table.add_row(format_time(time_ms)[:10], Text(kind, _STYLES.get(kind, "")), Text(text))
    versions = ", ".join(f"{model} {version}" for model, version in sorted(view.versions.items()))
    return Panel(
        table, title="alerts, commands, versions", subtitle=versions or None, border_style="blue", box=box.ROUNDED
    )
