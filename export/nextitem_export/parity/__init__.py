"""The gate that every export passes: the built graphs against NVTabular and the eager model."""
