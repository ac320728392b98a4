"""Calls of an MLflow server, each of which may be repeated without another effect.

What was made before is found by its tag ``driftloop.key``. Two processes at once could still make a thing twice: the
follower's lease keeps them apart.
"""

from __future__ import annotations

import json
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from driftloop.mlflow_mirror.contents import DIGEST_LENGTH, Contents, contents_of
from driftloop.registry.artifacts import ArtifactStore
from driftloop.registry.errors import RegistryError
from driftloop.registry.local_files import LocalFiles
from driftloop.registry.rows import VersionRow

__all__ = ["MlflowServer"]

_TAGS_AT_ONCE = 100
_METRICS_AT_ONCE = 500
_EXISTS = "RESOURCE_ALREADY_EXISTS"
_MISSING = {"RESOURCE_DOES_NOT_EXIST", "NOT_FOUND"}
#: What MLflow's client does by itself before it gives up; the follower tries again anyway.
_PATIENCE = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}


class MlflowServer:
    """One server. ``experiment`` and ``model`` name a model's experiment and registered model, with ``{model}`` for its
    name. Raises :class:`RegistryError` if MLflow's client is not installed; its calls raise ``MlflowException``."""

    def __init__(self, uri: str, *, experiment: str, model: str, store: ArtifactStore) -> None:
        for name, value in _PATIENCE.items():
            os.environ.setdefault(name, value)
        try:
            from mlflow import MlflowClient
            from mlflow.exceptions import MlflowException
        except ImportError as error:
            raise RegistryError(
                f"DRIFTLOOP_MLFLOW_TRACKING_URI is set, and MLflow's client is missing ({error}): install "
                "driftloop[mlflow]"
            ) from None
        self.error: type[Exception] = MlflowException
        self.uri = uri
        self._client: Any = MlflowClient(uri, uri)
        self._experiment = experiment
        self._model = model
        self._store = store

    def register(self, row: VersionRow) -> str:
        """Experiment, run, registered model and model version. Returns MLflow's number of the version."""
        contents = contents_of(row)
        run = self._run(row, contents)
        return self._version(row, contents, run)

    def number_of(self, row: VersionRow) -> str:
        """MLflow's number of the version, which is registered if it is not there."""
        found = self._find(row, contents_of(row).key)
        return self.register(row) if found is None else found

    def tag(self, row: VersionRow, number: str, tags: dict[str, str]) -> None:
        """Set tags of the model version."""
        for name, value in tags.items():
            self._client.set_model_version_tag(self._name(row.model_id), number, name, value)

    def alias(self, model_id: str, alias: str, number: str | None) -> None:
        """Let the alias name the version; None: nothing."""
        name = self._name(model_id)
        if number is not None:
            self._client.set_registered_model_alias(name, alias, number)
            return
        try:
            self._client.delete_registered_model_alias(name, alias)
        except self.error as error:
            if _code(error) not in _MISSING:
                raise

    def _name(self, model_id: str) -> str:
        return self._model.replace("{model}", model_id)

    def _run(self, row: VersionRow, contents: Contents) -> Any:
        from mlflow.entities import Metric, Param, RunTag

        experiment = self._experiment_id(row.model_id)
        found = self._client.search_runs(
            [experiment], f"tags.`driftloop.key` = '{contents.key}'", max_results=1, order_by=["attributes.start_time"]
        )
        start_ms = row.event_time_ms
        run = (
            found[0]
            if found
            else self._client.create_run(
                experiment, start_time=start_ms, run_name=row.version, tags={"driftloop.key": contents.key}
            )
        )
        run_id = run.info.run_id
        tags = [RunTag(name, value) for name, value in contents.tags.items()]
        parameters = [Param(name, value) for name, value in contents.parameters.items()]
        # The same time and step: a repeated metric is the same point, not another one.
        metrics = [Metric(name, value, start_ms, 0) for name, value in contents.metrics.items()]
        for start in range(0, len(tags), _TAGS_AT_ONCE):
            self._client.log_batch(run_id, tags=tags[start : start + _TAGS_AT_ONCE])
        for start in range(0, len(parameters), _TAGS_AT_ONCE):
            self._client.log_batch(run_id, params=parameters[start : start + _TAGS_AT_ONCE])
        for start in range(0, len(metrics), _METRICS_AT_ONCE):
            self._client.log_batch(run_id, metrics=metrics[start : start + _METRICS_AT_ONCE])
        self._input(run_id, contents)
        if run.info.status != "FINISHED":
            self._client.set_terminated(run_id, "FINISHED", start_ms)
        return run

    def _experiment_id(self, model_id: str) -> str:
        name = self._experiment.replace("{model}", model_id)
        found = self._client.get_experiment_by_name(name)
        if found is None:
            try:
                return str(self._client.create_experiment(name, tags={"driftloop.model": model_id}))
            except self.error as error:
                if _code(error) != _EXISTS:
                    raise
                found = self._client.get_experiment_by_name(name)
        if found.lifecycle_stage != "active":
            self._client.restore_experiment(found.experiment_id)
        return str(found.experiment_id)

    def _input(self, run_id: str, contents: Contents) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag

        used = contents.dataset
        if used is None:
            return
        source = self._store.location(used.uri) if used.uri else ""
        dataset = Dataset(
            name=used.name,
            digest=used.sha256[:DIGEST_LENGTH],
            source_type="local" if isinstance(self._store.files, LocalFiles) else source.partition("://")[0],
            source=json.dumps({"uri": source}),
            schema=json.dumps(used.schema) if used.schema else None,
            profile=json.dumps(used.profile),
        )
        tags = [InputTag("mlflow.data.context", "training"), InputTag("driftloop.sha256", used.sha256)]
        self._client.log_inputs(run_id, datasets=[DatasetInput(dataset, tags)])

    def _find(self, row: VersionRow, key: str) -> str | None:
        found = self._client.search_model_versions(
            f"name = '{self._name(row.model_id)}' and tag.`driftloop.key` = '{key}'"
        )
        return min((str(version.version) for version in found), key=int, default=None)

    def _version(self, row: VersionRow, contents: Contents, run: Any) -> str:
        name = self._name(row.model_id)
        try:
            self._client.create_registered_model(name, tags={"driftloop.model": row.model_id})
        except self.error as error:
            if _code(error) != _EXISTS:
                raise
        found = self._find(row, contents.key)
        if found is not None:
            return found
        created = self._client.create_model_version(
            name,
            self._source(row, run),
            run.info.run_id,
            tags=contents.tags,
            description=f"driftloop's {row.version} of {row.model_id}",
            await_creation_for=0,
        )
        return str(created.version)

    def _source(self, row: VersionRow, run: Any) -> str:
        """Where the model file is: its URL in an object store; one in a folder is logged to the run, because MLflow
        takes no paths of other machines. A file that is gone by now leaves the run without one."""
        if row.artifact is None:
            return f"runs:/{run.info.run_id}/model"
        if not isinstance(self._store.files, LocalFiles):
            return self._store.location(row.artifact)
        with suppress(RegistryError), tempfile.TemporaryDirectory(prefix="driftloop-mlflow-") as folder:
            file = Path(folder) / row.artifact.uri.rpartition("/")[2]
            file.write_bytes(self._store.read(row.artifact))
            self._client.log_artifact(run.info.run_id, str(file), "model")
        return f"{run.info.artifact_uri}/model"


def _code(error: Exception) -> str:
    return str(getattr(error, "error_code", ""))
