"""From detections to review tasks in Label Studio, sent once."""
