"""From corrections to a candidate: the durable jobs of the worker."""
