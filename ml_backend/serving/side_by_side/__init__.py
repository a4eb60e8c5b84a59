"""Two versions on the same images."""
