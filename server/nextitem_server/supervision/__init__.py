"""Bringing back the processes of models that died."""
