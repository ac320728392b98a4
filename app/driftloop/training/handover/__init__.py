"""Trainings that an orchestrator does: handed over, waited for, and judged like driftloop's own."""
