"""Interactions split into what is learnt from and what the model is judged by, and sessions as arrays."""
