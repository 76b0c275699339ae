"""The nodes of a gang and what they tell each other beside training."""
