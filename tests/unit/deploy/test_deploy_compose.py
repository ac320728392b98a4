"""Everything that docker-compose.yml and the Dockerfile name exists: no container engine is needed for that."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml
from sqlalchemy import text
from sqlalchemy.engine import make_url

from driftloop.cli import main as cli
from driftloop.registry import create_schema, open_engine
from driftloop.settings import Settings
from support.postgres import find_binaries, running_postgres

ROOT = Path(__file__).resolve().parents[3]
COMPOSE = ROOT / "docker-compose.yml"
DOCKERFILE = ROOT / "app/deploy/Dockerfile"
ROLE_SCRIPT = ROOT / "app/deploy/postgres/10-driftloop-role.sh"
LOCAL_IMAGE = "driftloop:local"


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))
    return document


def services(compose: dict[str, Any], *, ours: bool | None = None) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = compose["services"]
    if ours is None:
        return found
    return {name: service for name, service in found.items() if (service["image"] == LOCAL_IMAGE) == ours}


def default(text: str) -> str:
    """A text as compose reads it when no variable is set."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text)


def compose_command() -> list[str] | None:
    """Docker's own compose, or Debian's docker-compose, which reads the same file."""
    if shutil.which("docker") and not subprocess.run(["docker", "compose", "version"], capture_output=True).returncode:
        return ["docker", "compose"]
    return ["docker-compose"] if shutil.which("docker-compose") else None


def test_docker_compose_config() -> None:
    command = compose_command()
    if command is None:
        message = "neither docker compose nor docker-compose is installed"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(f"NOT TESTED: {message}")
    result = subprocess.run(
        [*command, "-f", str(COMPOSE), "config", "--quiet"], capture_output=True, text=True, timeout=60
    )
    assert result.returncode == 0, result.stderr


def test_images_are_pinned(compose: dict[str, Any]) -> None:
    bases = re.findall(r"^FROM (\S+)", DOCKERFILE.read_text(encoding="utf-8"), re.MULTILINE)
    images = [service["image"] for service in services(compose, ours=False).values()] + bases
    assert {image.split(":")[0] for image in images} >= {
        "apache/kafka",
        "postgres",
        "prom/prometheus",
        "grafana/grafana",
    }
    for image in images:
        assert re.search(r":v?\d+\.\d+", image), f"{image} names no version"
    for service in services(compose, ours=True).values():
        assert (ROOT / service["build"]["context"] / service["build"]["dockerfile"]).is_file()


def test_mounted_paths_and_volumes_exist(compose: dict[str, Any]) -> None:
    for name, service in services(compose).items():
        for volume in service.get("volumes", []):
            source, target = default(volume).removesuffix(":ro").split(":")
            assert target.startswith("/")
            if source.startswith("."):
                assert (ROOT / source).exists(), f"{name} mounts {source}, which is not there"
            else:
                assert source in compose["volumes"], f"{name} mounts the volume {source}, which is not declared"
    assert set(compose["volumes"]) == {
        default(volume).split(":")[0]
        for service in services(compose).values()
        for volume in service.get("volumes", [])
        if not default(volume).startswith((".", "/"))
    }


def test_dependencies_can_be_met(compose: dict[str, Any]) -> None:
    for name, service in services(compose).items():
        for other, how in service.get("depends_on", {}).items():
            target = services(compose)[other]
            if how["condition"] == "service_healthy":
                assert target["healthcheck"].get("test"), f"{name} waits for {other}, which has no health check"
            else:
                assert how["condition"] == "service_completed_successfully"
                assert target["restart"] != "unless-stopped", (
                    f"{name} waits for {other} to end, but it is started again"
                )


def test_variables_are_settings_and_valid(compose: dict[str, Any]) -> None:
    image = dict(re.findall(r"(DRIFTLOOP_\w+)=(\S+)", DOCKERFILE.read_text(encoding="utf-8")))
    for name, service in services(compose, ours=True).items():
        values = image | {key: default(value) for key, value in service["environment"].items()}
        for key in values:
            assert key.removeprefix("DRIFTLOOP_").lower() in Settings.model_fields, f"{name}: {key} is no setting"
        fields: dict[str, Any] = {key.removeprefix("DRIFTLOOP_").lower(): value for key, value in values.items()}
        settings = Settings(**fields)
        assert settings.bootstrap in compose["services"]["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"]
        mounts = {default(volume).removesuffix(":ro").split(":")[1] for volume in service["volumes"]}
        assert {str(settings.specs), str(settings.artifacts)} <= mounts
        assert f":{settings.metrics_port}/readyz" in str(service["healthcheck"]) or name == "topics"


def test_the_database_is_the_one_of_the_service(compose: dict[str, Any]) -> None:
    database = {key: default(value) for key, value in compose["services"]["postgres"]["environment"].items()}
    role = re.search(r"role=(\w+)", ROLE_SCRIPT.read_text(encoding="utf-8"))
    assert role is not None
    assert role[1] != database["POSTGRES_USER"], "the services are to have a role of their own, not the superuser's"
    expected = (
        f"postgresql+psycopg://{role[1]}:{database['DRIFTLOOP_ROLE_PASSWORD']}@postgres:5432/{database['POSTGRES_DB']}"
    )
    for service in services(compose, ours=True).values():
        assert default(service["environment"]["DRIFTLOOP_DATABASE_URL"]) == expected


def test_our_services_have_no_more_rights_than_they_need(compose: dict[str, Any]) -> None:
    for name, service in services(compose, ours=True).items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert "no-new-privileges:true" in service["security_opt"], name
        assert not service.get("privileged")
        # What is written to lies on a volume or in memory.
        data = [mount.split(":")[0] for mount in service["tmpfs"]]
        assert {"/tmp", "/var/lib/driftloop"} <= set(data)
        # It belongs to the account of the image.
        assert any("uid=10001,gid=10001" in mount for mount in service["tmpfs"])
    assert "--uid 10001" in DOCKERFILE.read_text(encoding="utf-8")


def test_networks_join_who_must_talk_and_nobody_else(compose: dict[str, Any]) -> None:
    networks = {name: set(service["networks"]) for name, service in services(compose).items()}
    assert networks["postgres"] == {"database"}
    assert compose["networks"]["database"] == {"internal": True}
    assert networks["grafana"] == networks["prometheus"] == {"metrics"}
    assert networks["kafka"] == networks["topics"] == {"events"}
    assert networks["monitor"] == networks["assessor"] == networks["trainer"] == {"events", "database", "metrics"}


def test_the_database_role_owns_its_database_and_nothing_else() -> None:
    binaries = find_binaries()
    if binaries is None or shutil.which("psql") is None:
        if os.environ.get("CI") == "true":
            pytest.fail("PostgreSQL is not installed")
        pytest.skip("NOT TESTED: PostgreSQL is not installed")
    with tempfile.TemporaryDirectory(prefix="driftloop-role-") as outer:
        Path(outer).chmod(0o755)
        (folder := Path(outer) / "server").mkdir()
        with running_postgres(binaries, folder) as url:
            server = make_url(url)
            environment = os.environ | {
                "PGHOST": str(server.host),
                "PGPORT": str(server.port),
                "POSTGRES_USER": str(server.username),
                "POSTGRES_DB": "postgres",
                "DRIFTLOOP_ROLE_PASSWORD": "it's $ecret",
            }
            subprocess.run([str(ROLE_SCRIPT)], env=environment, check=True, capture_output=True, timeout=60)
            own = server.set(drivername="postgresql+psycopg", username="driftloop", password="it's $ecret")
            engine = open_engine(own.render_as_string(hide_password=False))
            create_schema(engine)
            with engine.connect() as connection:
                rights = "SELECT rolsuper, rolcreatedb, rolcreaterole FROM pg_roles WHERE rolname = current_user"
                assert tuple(connection.execute(text(rights)).one()) == (False, False, False)
            engine.dispose()


def test_kafka_listeners_agree(compose: dict[str, Any]) -> None:
    environment = compose["services"]["kafka"]["environment"]
    listeners = dict(item.split("://") for item in environment["KAFKA_LISTENERS"].split(","))
    advertised = dict(item.split("://") for item in environment["KAFKA_ADVERTISED_LISTENERS"].split(","))
    protocols = dict(item.split(":") for item in environment["KAFKA_LISTENER_SECURITY_PROTOCOL_MAP"].split(","))
    controller = environment["KAFKA_CONTROLLER_LISTENER_NAMES"]
    assert set(listeners) == set(protocols) == set(advertised) | {controller}
    for name, address in advertised.items():
        assert address.split(":")[1] == listeners[name].split(":")[1]
    assert environment["KAFKA_CONTROLLER_QUORUM_VOTERS"].split(":")[1] == listeners[controller].split(":")[1]
    assert environment["KAFKA_INTER_BROKER_LISTENER_NAME"] in advertised
    assert environment["KAFKA_AUTO_CREATE_TOPICS_ENABLE"] == "false"


def test_commands_exist_in_the_console_script(compose: dict[str, Any]) -> None:
    if not cli.app.registered_commands:
        cli._register()
    root = typer.main.get_command(cli.app)
    commands = {name: service["command"] for name, service in services(compose, ours=True).items()}
    for name, words in commands.items():
        command: Any = root
        rest = list(words)
        while rest and hasattr(command, "commands"):
            assert rest[0] in command.commands, f"{name}: driftloop has no command {' '.join(words)}"
            command = command.commands[rest.pop(0)]
        # What is left is options: parsed, never run.
        command.make_context(name, rest)


def test_ports_are_open_to_this_machine_only(compose: dict[str, Any]) -> None:
    for service in services(compose).values():
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:")


def test_prometheus_scrapes_every_service_that_has_metrics(compose: dict[str, Any]) -> None:
    config = yaml.safe_load((ROOT / "app/deploy/prometheus/prometheus.yml").read_text(encoding="utf-8"))
    found = {
        name: (job["job_name"], source["port"])
        for job in config["scrape_configs"]
        for source in job.get("dns_sd_configs", [])
        for name in source["names"]
    }
    ours = set(services(compose, ours=True)) - {"topics"}
    assert found == {
        name: (f"driftloop-{name}", int(compose["services"][name]["environment"]["DRIFTLOOP_METRICS_PORT"]))
        for name in ours
    }


def test_the_dockerfile_copies_what_is_there_and_runs_as_nobody_special() -> None:
    text = DOCKERFILE.read_text(encoding="utf-8")
    ignored = (DOCKERFILE.parent / "Dockerfile.dockerignore").read_text(encoding="utf-8").split()
    for line in re.findall(r"^COPY (?!--from)(.+)$", text, re.MULTILINE):
        for source in line.split()[:-1]:
            assert (ROOT / source).exists(), f"the Dockerfile copies {source}, which is not there"
            assert f"!{source}" in ignored, f"{source} is not in the build context"
    final = text.split("\nFROM ")[-1]
    assert re.search(r"^USER driftloop$", final, re.MULTILINE)
    assert final.index("USER driftloop") < final.index("ENTRYPOINT")
    assert "--require-hashes" in text
