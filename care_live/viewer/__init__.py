"""Watchers: terminal, browser page, napari; they know only publish's subscriber and store's reader."""
