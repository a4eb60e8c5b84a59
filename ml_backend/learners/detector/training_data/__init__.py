"""What a detector learns from: images turned and re-toned, objects pasted, classes balanced."""
