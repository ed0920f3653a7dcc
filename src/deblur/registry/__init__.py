"""Runs and model versions. ``record`` writes a run to disk; ``tracking`` and ``versions`` are the only ones to import
mlflow, and only when called."""
