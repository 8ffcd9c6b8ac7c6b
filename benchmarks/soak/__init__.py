"""An hour of requests to one server, one in ten malformed."""
