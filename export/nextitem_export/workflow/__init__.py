"""The compiler of fitted NVTabular workflows: what the exporter reads from one, and the program that it becomes."""
