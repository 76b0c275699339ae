"""The training loop and its components, one a file."""
