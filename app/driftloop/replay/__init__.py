"""Replaying history through the cores of monitor and assessor, under the same or another configuration."""
