"""From labeled predictions to a new model version: data set, estimator, gates, artifact, worker."""
