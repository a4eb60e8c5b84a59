"""What a review queue would have been worth: a labelled folder is reviewed by a program."""
