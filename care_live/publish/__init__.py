"""Protocol cl1 at both ends: `Publisher` for the daemon, `Subscriber` for whoever watches."""
