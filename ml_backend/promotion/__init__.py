"""Whether a candidate replaces the champion, and whether a new champion stays."""
