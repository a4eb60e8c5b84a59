"""What a project or a file of detections holds, as tables, one page and pictures."""
