"""Pre-annotations: the Flask app that answers Label Studio, and what publishes to it."""
