"""Parts of ``tools/gpu_check.py``: what a machine with a GPU computes, and how fast."""
