"""The bodies: a file for each architecture, which registers itself. Another one costs a file such as bert.py."""

from nextitem_training.bodies.spec import BODIES, BodySettings, BodySpec, body, check_combination

__all__ = ["BODIES", "BodySettings", "BodySpec", "body", "check_combination"]
