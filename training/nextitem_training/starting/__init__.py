"""What a model begins with: encoded sessions, an older run's weights, vectors made elsewhere. And what it ends with: items that
nobody clicked."""
