"""``deblur bench``: what this machine makes of our code, beside its own limit and beside the plain way."""
