"""The graphs of a bundle: the session model with its top-k, and the items that codes stand for."""
