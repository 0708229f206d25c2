"""care_live restores fluorescence microscopy volumes while they are being acquired."""

__version__ = "0.1.0"
