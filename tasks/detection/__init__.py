"""What a detector finds in scans, tiles and files."""
