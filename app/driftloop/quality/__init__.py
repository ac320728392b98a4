"""Whether a window's data is sound: the decision on each data-quality check, apart from drift."""
