"""What the exporter reads from a fitted NVTabular workflow."""
