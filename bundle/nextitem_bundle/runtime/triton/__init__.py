"""What Triton's Python backend asks: requests in, answers out, several of them together, and what is counted of them."""
