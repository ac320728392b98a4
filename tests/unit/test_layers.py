"""Which package may import what. The core knows no Kafka, no database, no clock, no thread, no chance."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "app" / "driftloop"

CORE = {
    "events", "spec", "profiles", "drift", "multivariate", "performance", "concept", "joining", "windows", "monitoring",
    "judging", "policy", "quality", "shadow",
}  # fmt: skip
#: Inside driftloop: package to what it may import beside itself.
MAY_IMPORT: dict[str, set[str]] = {
    "events": set(),
    "spec": {"events"},
    "profiles": {"events", "spec"},
    "drift": {"events", "spec", "profiles"},
    "multivariate": {"events", "spec", "profiles", "drift"},
    "performance": {"events", "spec", "profiles"},
    "quality": {"events", "spec", "profiles", "drift"},
    "concept": {"events", "spec", "profiles", "performance"},
    "joining": {"events"},
    "windows": {"events", "spec"},
    "policy": {"events", "spec"},
    "shadow": {"events", "spec", "profiles", "performance", "concept"},
    "monitoring": {"events", "spec", "profiles", "performance", "joining", "windows"},
    "judging": {
        "events", "spec", "profiles", "drift", "multivariate", "performance", "concept", "windows", "monitoring",
        "policy", "quality",
    },
    "client": {"events", "kafka"},
    "kafka": {"events", "settings"},
    "registry": {"events"},
    "observability": {"events"},
    "training": {
        "events", "spec", "profiles", "drift", "multivariate", "performance", "policy", "registry", "kafka",
        "observability", "settings", "shadow", "stopping", "web", "windows", "mlflow_mirror",
    },
    "mlflow_mirror": {"registry", "observability", "settings"},
    "web": {"events", "registry", "observability"},
    "checkpoints": {"events", "joining", "spec"},
    "streaming": CORE | {"checkpoints", "registry", "kafka", "observability", "settings", "stopping"},
    "replay": CORE | {"checkpoints", "kafka", "registry", "settings", "streaming"},
    "audit": {"events", "spec", "profiles", "multivariate", "registry", "kafka", "training"},
}  # fmt: skip
#: Classifiers of multivariate drift, imported when one is used.
ALLOWED_FOREIGN = {"multivariate": {"sklearn"}}
FOREIGN_TO_CORE = {
    "aiokafka", "asyncio", "confluent_kafka", "faust", "pandas", "prometheus_client", "random", "rocksdict",
    "secrets", "shutil", "sklearn", "sqlalchemy", "threading", "time", "uuid",
}  # fmt: skip


def imports(path: Path, *, at_run_time: bool = True) -> Iterator[str]:
    """Modules that a file imports; those for type checking alone are left out."""
    tree = ast.parse(path.read_text())
    skipped: set[ast.AST] = set()
    for node in ast.walk(tree):
        if at_run_time and isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            skipped.update(ast.walk(node))
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide where they lead"
            assert node.module is not None
            if node.module == "driftloop":
                yield from (f"driftloop.{alias.name}" for alias in node.names)
            else:
                yield node.module


def files(package: str) -> list[Path]:
    return sorted((PACKAGE / package).rglob("*.py"))


@pytest.mark.parametrize("package", sorted(MAY_IMPORT))
def test_a_package_imports_only_what_it_may(package: str) -> None:
    assert files(package)
    wrong = [
        f"{path.relative_to(PACKAGE)}: {module}"
        for path in files(package)
        for module in imports(path)
        if module.startswith("driftloop.") and module.split(".")[1] not in MAY_IMPORT[package] | {package}
    ]
    assert wrong == []


@pytest.mark.parametrize("package", sorted(CORE))
def test_the_core_knows_no_kafka_clock_thread_database_or_chance(package: str) -> None:
    wrong = [
        f"{path.relative_to(PACKAGE)}: {module}"
        for path in files(package)
        for module in imports(path)
        if module.split(".")[0] in FOREIGN_TO_CORE - ALLOWED_FOREIGN.get(package, set())
    ]
    assert wrong == []


@pytest.mark.parametrize("package", sorted(CORE))
def test_the_core_asks_no_clock(package: str) -> None:
    for path in files(package):
        text = path.read_text()
        for call in ("datetime.now", "datetime.utcnow", "default_rng()", "np.random.rand"):
            assert call not in text, f"{path.relative_to(PACKAGE)} calls {call}"


def test_the_client_needs_only_the_base_install() -> None:
    """Followed through everything that importing the client imports."""
    script = (
        "import sys, driftloop.client\n"
        "print(*sorted({name.split('.')[0] for name in sys.modules} - set(sys.stdlib_module_names)))"
    )
    run = subprocess.run([sys.executable, "-I", "-c", script], capture_output=True, text=True, timeout=60, check=True)
    loaded = {name for name in run.stdout.split() if not name.startswith("_")}
    assert {"driftloop", "confluent_kafka", "msgspec"} <= loaded
    foreign = {"aiokafka", "faust", "numpy", "pandas", "prometheus_client", "pydantic", "rich", "scipy", "sklearn"}
    assert not loaded & (foreign | {"sqlalchemy", "structlog", "typer", "yaml"})


def test_every_package_is_in_the_table() -> None:
    packages = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert packages - set(MAY_IMPORT) == {"cli", "demo"}, "cli and demo may import everything; others have a row"
