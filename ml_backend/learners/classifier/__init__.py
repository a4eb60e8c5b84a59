"""The learner of choices: what an image shows, from what annotators called it."""
