"""How far each MLflow server has been told of each model, in the registry's database."""

from __future__ import annotations

import hashlib

from sqlalchemy import Engine, func, select, update

from driftloop.registry.database import insert_new, reading, writing
from driftloop.registry.rows import HistoryRow
from driftloop.registry.tables import alias_history, mlflow_positions

__all__ = ["Positions"]


class Positions:
    """Positions of one target (server, and names in it): another one is told everything anew.

    A position is the sequence of the last row of the model's history that MLflow has.
    """

    def __init__(self, engine: Engine, target: str) -> None:
        self._engine = engine
        self._target = hashlib.sha256(target.encode()).hexdigest()

    def get(self, model_id: str) -> int:
        """0 if nothing was told yet."""
        statement = select(mlflow_positions.c.sequence).where(
            mlflow_positions.c.target == self._target, mlflow_positions.c.model_id == model_id
        )
        with reading(self._engine) as connection:
            return int(connection.execute(statement).scalar() or 0)

    def set(self, model_id: str, sequence: int) -> None:
        """Never goes back."""
        key = {"target": self._target, "model_id": model_id}
        with writing(self._engine) as connection:
            if insert_new(connection, mlflow_positions, {**key, "sequence": sequence}):
                return
            connection.execute(
                update(mlflow_positions)
                .where(*(mlflow_positions.c[name] == value for name, value in key.items()))
                .where(mlflow_positions.c.sequence < sequence)
                .values(sequence=sequence)
            )

    def behind(self) -> dict[str, int]:
        """Models of which MLflow has not been told everything, and how many rows are left."""
        joined = alias_history.outerjoin(
            mlflow_positions,
            (mlflow_positions.c.model_id == alias_history.c.model_id) & (mlflow_positions.c.target == self._target),
        )
        statement = (
            select(alias_history.c.model_id, func.count())
            .select_from(joined)
            .where(alias_history.c.sequence > func.coalesce(mlflow_positions.c.sequence, 0))
            .group_by(alias_history.c.model_id)
            .order_by(alias_history.c.model_id)
        )
        with reading(self._engine) as connection:
            return {str(model_id): int(count) for model_id, count in connection.execute(statement)}

    def next_rows(self, model_id: str, most: int = 100) -> list[HistoryRow]:
        """Rows of the model's history that come next, oldest first."""
        columns = [alias_history.c[name] for name in HistoryRow.__dataclass_fields__]
        statement = (
            select(*columns)
            .where(alias_history.c.model_id == model_id, alias_history.c.sequence > self.get(model_id))
            .order_by(alias_history.c.sequence)
            .limit(most)
        )
        with reading(self._engine) as connection:
            return [HistoryRow(**row) for row in connection.execute(statement).mappings()]
