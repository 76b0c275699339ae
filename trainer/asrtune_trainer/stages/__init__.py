"""The stages, one file each, and the chain that runs them."""
