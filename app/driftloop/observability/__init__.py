"""What operators see: Prometheus metrics, health endpoints and logs."""

from driftloop.observability.logs import configure_logs, get_logger
from driftloop.observability.metrics import Metrics
from driftloop.observability.server import Check, Heartbeat, ObservabilityServer, serve

__all__ = ["Check", "Heartbeat", "Metrics", "ObservabilityServer", "configure_logs", "get_logger", "serve"]
