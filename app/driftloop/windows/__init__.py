"""Panes, cohorts and watermarks in event time, and the merging of partials."""
