"""The commands that `tasks` adds to the command line."""
