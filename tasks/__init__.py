"""From images to review tasks, and from detections to files."""
