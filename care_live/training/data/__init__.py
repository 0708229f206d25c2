"""What a network learns from: images on disk or simulated → examples → batches of patches."""
