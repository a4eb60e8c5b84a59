"""What comes from outside and is meant to harm: each input is refused with a clear reason."""
