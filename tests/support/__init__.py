"""What the repository's tests share."""
