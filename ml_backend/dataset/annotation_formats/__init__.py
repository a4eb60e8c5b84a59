"""Files of annotations that other programs write and read, one file a format."""
