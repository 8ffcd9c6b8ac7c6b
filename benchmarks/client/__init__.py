"""The client's transports, and HTTP libraries under it."""
