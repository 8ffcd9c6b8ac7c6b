"""The compiled features step against NVTabular."""
