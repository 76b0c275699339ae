"""What the operator holds in memory: the objects it follows, and the runs to look at."""
