"""What is kept of projects and of running trainings beside Label Studio."""
