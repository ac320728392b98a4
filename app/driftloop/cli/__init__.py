"""The console script ``driftloop``."""
