"""Training, from settings to a registered version. Read ``recipe.py`` first."""
