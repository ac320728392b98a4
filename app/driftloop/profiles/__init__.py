"""Mergeable, exact statistics of a window's inputs, and the references that they are counted against."""
