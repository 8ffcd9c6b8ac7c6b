"""The load generator, trials with it, and the search for a server's highest rate."""
