"""When to retrain: triggers, what holds them back, and the command."""
