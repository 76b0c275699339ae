"""Keeps what the operator knows of the cluster up to date."""
