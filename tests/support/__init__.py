"""Helpers of the tests: processes and builders that are no fixtures."""
