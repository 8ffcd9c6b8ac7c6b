"""The retrieval step over large catalogues: exact, int8 and by an index."""
