"""Which run is looked at next, and one look at it."""
