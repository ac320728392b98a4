"""Performance estimated from predictions alone, before labels come: CBPE, direct loss estimation, weighting."""
