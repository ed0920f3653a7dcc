"""Figures and pictures of what a model does to whole images."""
