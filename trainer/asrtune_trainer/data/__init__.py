"""Utterances: reading, checking, simulating, batching."""
