"""What a project's tasks show, cell by cell, kept so that a page finds it at once."""
