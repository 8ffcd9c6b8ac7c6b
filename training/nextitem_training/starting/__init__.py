"""What a model begins with: encoded sessions, an older run's weights, vectors made elsewhere."""
