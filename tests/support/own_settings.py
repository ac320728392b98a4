"""Settings of a test's own: its broker, topic prefix and folder, and short time-outs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from driftloop.settings import Settings

__all__ = ["own_settings"]


def own_settings(bootstrap: str, name: str, folder: Path, **overrides: Any) -> Settings:
    """``name`` is topic prefix and consumer group; data are in ``folder``. No ``.env`` has a part in it."""
    fields: dict[str, Any] = {
        "bootstrap": bootstrap,
        "topic_prefix": name,
        "app_id": name,
        "data_dir": folder / "data",
        "metrics_port": 0,
        "session_timeout_ms": 6_000,
        "rebalance_timeout_ms": 6_000,
    }
    make: Callable[..., Settings] = Settings
    return make(_env_file=None, **{**fields, **overrides})
