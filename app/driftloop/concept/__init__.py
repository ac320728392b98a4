"""Change detectors on the stream of a model's losses, in window order, with state that survives a restart."""
