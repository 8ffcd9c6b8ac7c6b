"""nextitem: under construction."""
