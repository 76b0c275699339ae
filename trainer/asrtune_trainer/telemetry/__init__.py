"""What a running stage tells the world: events, and the sinks that carry them."""
