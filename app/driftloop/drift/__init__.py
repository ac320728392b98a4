"""Distances between a window and its reference, significance, correction for many features, and the decision."""
