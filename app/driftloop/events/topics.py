"""Names, keys and policies of the topics."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["DEFAULT_PREFIX", "TopicPlan", "Topics"]

DEFAULT_PREFIX = "driftloop"

_DAY_MS = 86_400_000


@dataclass(frozen=True)
class TopicPlan:
    """One topic as it must be created. ``retention_ms`` -1 keeps everything."""

    name: str
    partitions: int
    cleanup_policy: str
    retention_ms: int
    holds: str
    key: str

    def config(self) -> dict[str, str]:
        """Topic configuration for the broker."""
        return {"cleanup.policy": self.cleanup_policy, "retention.ms": str(self.retention_ms)}


@dataclass(frozen=True)
class Topics:
    """Topic names under one prefix.

    ``predictions``, ``labels`` and ``labeled`` have ``source_partitions``, keyed by prediction_id; the topics keyed by
    model_id have ``model_partitions``.

    >>> Topics().labels
    'driftloop.labels'
    """

    prefix: str = DEFAULT_PREFIX
    source_partitions: int = 4
    model_partitions: int = 2

    def _name(self, suffix: str) -> str:
        return f"{self.prefix}.{suffix}"

    @property
    def predictions(self) -> str:
        return self._name("predictions")

    @property
    def labels(self) -> str:
        return self._name("labels")

    @property
    def labeled(self) -> str:
        return self._name("labeled")

    @property
    def window_partials(self) -> str:
        return self._name("window-partials")

    @property
    def monitor_progress(self) -> str:
        return self._name("monitor-progress")

    @property
    def window_reports(self) -> str:
        return self._name("window-reports")

    @property
    def alerts(self) -> str:
        return self._name("alerts")

    @property
    def policy_decisions(self) -> str:
        return self._name("policy-decisions")

    @property
    def retrain_commands(self) -> str:
        return self._name("retrain-commands")

    @property
    def model_events(self) -> str:
        return self._name("model-events")

    @property
    def dead_letters(self) -> str:
        return self._name("dead-letters")

    def plans(self) -> list[TopicPlan]:
        """Every topic, as it must be created."""
        source, model = self.source_partitions, self.model_partitions
        week, long = 7 * _DAY_MS, -1
        by_id, by_model = "prediction_id", "model_id"
        return [
            TopicPlan(self.predictions, source, "delete", 8 * week, "what a model said, with its features", by_id),
            TopicPlan(self.labels, source, "delete", 8 * week, "what turned out true", by_id),
            TopicPlan(self.labeled, source, "delete", long, "prediction joined with its label", by_id),
            TopicPlan(
                self.window_partials, model, "compact,delete", 8 * week, "one source's part of a window", by_model
            ),
            TopicPlan(
                self.monitor_progress, 1, "compact", long, "how far each source partition was read", "source partition"
            ),
            TopicPlan(self.window_reports, model, "delete", long, "merged, judged windows", by_model),
            TopicPlan(self.alerts, model, "delete", long, "alerts opened, firing, resolved", by_model),
            TopicPlan(self.policy_decisions, model, "delete", long, "what the policy decided, and why not", by_model),
            TopicPlan(self.retrain_commands, model, "delete", long, "why to retrain, on which data", by_model),
            TopicPlan(
                self.model_events,
                model,
                "delete",
                long,
                "what became of versions and commands",
                by_model,
            ),
            TopicPlan(self.dead_letters, 1, "delete", 8 * week, "what could not be read, byte for byte", "as received"),
        ]
