"""From merged window statistics to reports, alerts and commands."""
