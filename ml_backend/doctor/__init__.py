"""The doctor: what is wrong with an installation and its projects, and how to mend it."""
