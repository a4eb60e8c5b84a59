"""What the page of a project says and shows."""
