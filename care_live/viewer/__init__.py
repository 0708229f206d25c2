"""Viewers: terminal, browser page, napari; they use only publish's subscriber and store's reader."""
