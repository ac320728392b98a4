"""``driftloop explain``: which features moved the mean score of a window."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from driftloop.events.reports import WindowReport
    from driftloop.settings import Settings
    from driftloop.training.explanation import Explanation

__all__ = ["explain"]


def explain(
    report_id: Annotated[str, typer.Argument(help="of an input window, as in reports and alerts")],
    output_class: Annotated[
        str | None, typer.Option("--class", help="for multiclass models: explain the probability of this class")
    ] = None,
    pairs: Annotated[int, typer.Option(min=2, max=1_000_000, help="pairs of rows that are drawn")] = 2_000,
    seed: Annotated[int, typer.Option(min=0, help="of the drawing; the same seed gives the same numbers")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Decompose the change of the mean score from the reference to a window into contributions of features."""
    from sqlalchemy.exc import SQLAlchemyError

    from driftloop.cli._database import did_not_answer
    from driftloop.registry import RegistryError
    from driftloop.settings import Settings
    from driftloop.training.artifacts import ArtifactError
    from driftloop.training.explanation import ExplanationError

    try:
        report, explanation = _explained(Settings(), report_id, output_class, pairs, seed)
    except (ExplanationError, ArtifactError, RegistryError, ValueError) as error:
        typer.echo(f"driftloop explain: {error}", err=True)
        raise typer.Exit(1) from error
    except OSError as error:  # a folder or an object store that cannot be used
        typer.echo(f"driftloop explain: a file cannot be read: {error}", err=True)
        raise typer.Exit(1) from error
    except SQLAlchemyError as error:
        typer.echo(f"driftloop explain: {did_not_answer(error)}", err=True)
        raise typer.Exit(1) from error
    if as_json:
        _print_json(report, explanation)
    else:
        _print_table(report, explanation)


def _explained(
    settings: Settings, report_id: str, output_class: str | None, pairs: int, seed: int
) -> tuple[WindowReport, Explanation]:
    from driftloop.cli._database import opened
    from driftloop.profiles.inputs import InputStats
    from driftloop.profiles.reference import ReferenceProfile
    from driftloop.registry import ArtifactStore, AssessmentStore, Registry
    from driftloop.spec import load_specs
    from driftloop.training.artifacts import load
    from driftloop.training.explanation import ExplanationError, explain_window

    with opened(settings, "read") as engine:
        found = AssessmentStore(engine).final_report(report_id)
        if found is None:
            raise ExplanationError(f"there is no final report {report_id!r}; see 'driftloop reports --json'")
        report, stats = found
        if report.kind != "input":
            raise ExplanationError(f"{report_id} is of an outcome window; give the input window of the same time")
        registry = Registry(engine, ArtifactStore(settings.resolved_artifacts))
        version = registry.version(report.model_id, report.model_version)
        encoded = registry.profile(report.model_id, report.model_version)
        if version is None or encoded is None:
            raise ExplanationError(f"the registry has no profile of {report.model_id} {report.model_version}")
        if version.artifact is None:
            raise ExplanationError(
                f"{report.model_id} {report.model_version} was registered without its model file, so its score cannot "
                "be computed; register it with --artifact"
            )
        specs = load_specs(settings.specs)
        if report.model_id not in specs:
            raise ExplanationError(f"{settings.specs} holds no spec of {report.model_id!r}")
        profile = ReferenceProfile.decode(encoded)
        explanation = explain_window(
            specs[report.model_id],
            load(registry.store.read(version.artifact)),
            InputStats.decode(stats, profile.for_segment(report.segment)),
            output_class=output_class,
            pairs=pairs,
            seed=seed,
        )
        return report, explanation


def _share(value: float, change: float) -> float | None:
    return value / change if change else None


def _print_json(report: WindowReport, explanation: Explanation) -> None:
    import msgspec

    attribution = explanation.attribution
    content = {
        "report_id": report.report_id,
        "output": explanation.output,
        "reference_mean": attribution.reference_mean,
        "window_mean": attribution.window_mean,
        "change": attribution.change,
        "remainder": attribution.remainder,
        "exact": attribution.exact,
        "rows": explanation.rows,
        "reference_rows": explanation.reference_rows,
        "contributions": [
            {
                "feature": part.feature,
                "contribution": part.value,
                "standard_error": part.standard_error,
                "share": _share(part.value, attribution.change),
            }
            for part in attribution.contributions
        ],
    }
    typer.echo(msgspec.json.format(msgspec.json.encode(content), indent=2).decode())


def _print_table(report: WindowReport, explanation: Explanation) -> None:
    from rich.markup import escape
    from rich.table import Table

    from driftloop.cli._tables import open_console

    attribution = explanation.attribution
    console = open_console()
    how = "exact" if attribution.exact else "sampled Shapley values"
    console.print(
        f"{report.report_id}: the mean {explanation.output} went from {attribution.reference_mean:.5g} "
        f"({explanation.reference_rows:,} rows of the reference) to {attribution.window_mean:.5g} "
        f"({explanation.rows:,} rows of the window), a change of {attribution.change:+.5g}; {how}",
        markup=False,
        soft_wrap=True,
    )
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("feature")
    for name in ("contribution", "standard error", "share"):
        table.add_column(name, justify="right", no_wrap=True)
    for part in attribution.contributions:
        share = _share(part.value, attribution.change)
        table.add_row(
            escape(part.feature),
            f"{part.value:+.5g}",
            "" if part.standard_error is None else f"{part.standard_error:.2g}",
            "" if share is None else f"{100 * share:.1f} %",
        )
    console.print(table)
    if abs(attribution.remainder) > 1e-9 * max(abs(attribution.change), 1e-9):
        console.print(f"not attributed, since rows are not used equally often: {attribution.remainder:+.2g}")
