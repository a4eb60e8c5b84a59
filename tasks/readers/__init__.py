"""A file of a microscope as planes, read window by window."""
