"""From trained weights to a model folder that is proved to compute the same."""
