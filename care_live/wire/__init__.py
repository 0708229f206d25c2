"""Protocol cl1: messages as pure functions, sockets in one module, keys. The specification is cl1.md."""
