"""The HTTP service: one Starlette app, the model it serves, its limits. No torch, no mlflow."""
