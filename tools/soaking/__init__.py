"""A long run with troubles: a camera, what goes wrong meanwhile, what is sampled; see tools/soak.py."""
