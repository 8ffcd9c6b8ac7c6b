"""The two steps around the session model: raw sessions to encoded sequences, and codes to the items that they stand for."""
