"""The browser page and its gateway, a process of its own.

::

    subscriber ──▶ feed ──▶ cache ─┐                      ┌─▶ browser (page/)
                                   ├─▶ index ───▶ session ┤     asks for a view, gives credit,
    run directory ─▶ history ──────┘      (one a browser) └─▶ browser     gets pictures

A browser never gets a whole volume unless it rotates one: it requests a view (planes, ortho planes, maximum
or a reduced volume) and gets pictures of it, at most two in flight.
"""
