"""Protocol cl1: messages as pure functions, sockets behind one door, keys. The specification is cl1.md."""
