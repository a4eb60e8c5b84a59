"""Which task a person should look at first."""
