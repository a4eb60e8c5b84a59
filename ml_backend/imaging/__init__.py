"""Pixels and boxes: decoding, pixel size, sliding windows, merging of detections."""
