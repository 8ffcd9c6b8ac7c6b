"""Requests as bytes, well-formed and malformed, without a client."""
