"""``driftloop up``: broker and all services on one machine."""

from __future__ import annotations

import sys
import time
from typing import Annotated

import typer

__all__ = ["up"]

_COMMAND_LINE = ["-c", "from driftloop.cli.main import main; main()"]


def up(
    broker: Annotated[
        bool,
        typer.Option(
            "--broker/--no-broker",
            help="Start the embedded broker (in memory, for trying things out), or use the one of DRIFTLOOP_BOOTSTRAP.",
        ),
    ] = True,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Loopback port of the embedded broker.")] = 9092,
) -> None:
    """Start broker, topics, worker and trainer on this machine, with the environment's settings, until Ctrl-C."""
    from driftloop.demo.supervisor import ChildDied
    from driftloop.kafka.admin import BrokerError
    from driftloop.spec import SpecError

    try:
        code = _run(port if broker else None)
    except (BrokerError, ChildDied, SpecError) as error:
        typer.echo(f"driftloop up: {error}", err=True)
        code = 1
    sys.exit(code)


def _run(port: int | None) -> int:
    from contextlib import ExitStack

    from driftloop.demo.supervisor import Supervisor, interrupt_on_sigterm
    from driftloop.kafka.admin import create_topics
    from driftloop.kafka.embedded import EmbeddedBroker
    from driftloop.settings import Settings
    from driftloop.spec import load_specs

    settings = Settings()
    specs = load_specs(settings.specs)
    logs = settings.data_dir / "logs"
    with ExitStack() as stack:
        stack.enter_context(interrupt_on_sigterm())
        supervisor = stack.enter_context(Supervisor(logs))
        try:
            environment: dict[str, str] = {}
            if port is not None:
                embedded = stack.enter_context(EmbeddedBroker(port, logs / "broker.log"))
                # The services must stop before their broker does.
                stack.callback(supervisor.stop)
                environment = {"DRIFTLOOP_BOOTSTRAP": embedded.bootstrap, "DRIFTLOOP_SECURITY_PROTOCOL": "PLAINTEXT"}
                settings = settings.model_copy(
                    update={"bootstrap": embedded.bootstrap, "security_protocol": "PLAINTEXT"}
                )
            create_topics(settings)
            supervisor.start("worker", [*_COMMAND_LINE, "worker"], environment)
            port_of_trainer = settings.metrics_port and settings.metrics_port + 1
            environment["DRIFTLOOP_METRICS_PORT"] = str(port_of_trainer)
            supervisor.start("trainer", [*_COMMAND_LINE, "trainer"], environment)
            typer.echo(f"broker    {settings.bootstrap}")
            typer.echo(f"models    {', '.join(sorted(specs))}")
            if settings.metrics_port:
                address = f"http://{settings.web_host}"
                typer.echo(f"metrics   {address}:{settings.metrics_port}/metrics (worker)")
                typer.echo(f"          {address}:{port_of_trainer}/metrics (trainer)")
            typer.echo(f"logs      {logs}")
            typer.echo("worker and trainer run; Ctrl-C ends them")
            while True:
                supervisor.check()
                time.sleep(0.5)
        except KeyboardInterrupt:
            typer.echo("stopped")
    return 0
