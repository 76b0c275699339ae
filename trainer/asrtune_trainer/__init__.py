"""Trains FunASR models: storage, data, models, stages, the training loop, scoring, the report."""
