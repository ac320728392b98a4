"""Challenger against champion on new predictions: a verdict that may be looked at at any time."""
