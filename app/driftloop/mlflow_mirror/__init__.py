"""What the registry holds, in an MLflow registry as well (extra ``driftloop[mlflow]``)."""
