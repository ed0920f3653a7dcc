"""Where training and validation images come from: pairs on disk, or sharp photos with synthetic blur.

Every training sample is a function of (seed, position in the run): the same whatever the number of workers.
"""
