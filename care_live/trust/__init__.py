"""Is it true: does a restoration agree with the photons that were counted, and does the network know the specimen.

Calculations only; `restore` runs them in the inference process, beside the arrays.
"""
