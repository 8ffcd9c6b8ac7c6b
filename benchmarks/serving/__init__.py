"""Servers under load: ours and others."""
