"""Carries out what was decided: objects, status, events."""
