"""The objects of a run: pods, ConfigMap, Service. Pure."""
