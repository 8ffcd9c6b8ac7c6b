"""What training makes small for the next item."""
