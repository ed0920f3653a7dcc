"""From pixels to restored pixels: tiles, engines, the restorer, and model folders. No torch, no mlflow."""
