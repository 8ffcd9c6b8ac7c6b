"""Bundles for Triton's own backends, `onnxruntime` and `pytorch`: no Python runs in the server.

What the Python runtime does in numpy before the compiled workflow (checks, nulls, filters) is part of the features graph here.
"""
