"""What bundle's tests share."""
