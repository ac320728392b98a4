"""The pure core of a monitor worker: one source partition's events in, labeled rows and window partials out."""
