"""What all benchmarks share: their options, timing in rounds, processes and what these use."""
