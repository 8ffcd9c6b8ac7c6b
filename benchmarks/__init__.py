"""Measurements of the project beside others; each command is a target of make, and README.md says how to read its figures."""
