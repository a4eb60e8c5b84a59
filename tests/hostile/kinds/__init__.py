"""The kinds of hostile inputs, a file each."""
