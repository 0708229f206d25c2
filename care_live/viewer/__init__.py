"""Viewers: terminal, browser page, napari, ndv; they use only publish's subscriber and store's reader."""
