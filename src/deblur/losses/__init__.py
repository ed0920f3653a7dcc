"""What training minimises. ``objective.py`` makes a weighted sum of terms; each term has a file of its own."""
