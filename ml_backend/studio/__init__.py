"""Label Studio: its own environment and process, and all traffic with it."""
