"""Where training and validation images come from: pairs, averaged frames, or sharp pixels with synthetic blur.

Every training sample is a function of (seed, key, strength): the same whatever the number of workers.
"""
