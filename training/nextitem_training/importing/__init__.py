"""Models that another library trained become run directories: nextitem-import."""
