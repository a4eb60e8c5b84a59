"""Everything that touches Label Studio: its environment, its interface, its images."""
