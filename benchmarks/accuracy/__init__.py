"""How good recommendations are, by published protocols, beside plain baselines."""
