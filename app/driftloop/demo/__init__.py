"""The demo: a year of real flights through the whole closed loop, on one machine."""
