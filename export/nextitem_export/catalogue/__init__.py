"""The catalogue that a bundle keeps: its raw tables, and what writes another version of the bundle from changed ones."""
