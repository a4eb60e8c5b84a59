"""A scan of many tiles as one system of coordinates."""
