"""From a custom resource to a run whose every value is decided."""
