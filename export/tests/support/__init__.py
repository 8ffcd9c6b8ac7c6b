"""What export's tests share."""
