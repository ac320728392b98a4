"""Realised performance: mergeable sums of predictions with their labels, metrics with intervals, and the judgement."""
