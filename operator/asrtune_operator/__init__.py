"""asrtune_operator."""
