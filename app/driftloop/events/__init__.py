"""Events on the wire, topic names and event time."""
