"""The napari plugin: raw, restored and uncertainty of a running or a recorded acquisition as layers.

::

    subscriber ─▶ feed ─▶ cache ─┐                      ┌─ signal, one at a time ─▶ layers (GUI thread)
                                 ├─▶ index ───▶ preparer ┘
    run directory ─▶ history ────┘

Layers are touched in the GUI thread only; everything slow happens in the preparer's thread, which keeps
nothing but the newest.
"""
