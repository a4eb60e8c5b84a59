"""Who may come in: sessions of browsers, passwords, and what is refused."""
