"""Is a candidate better than the champion; does a champion stay."""
