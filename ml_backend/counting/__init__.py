"""Projects with the goal `count`: their queue is drawn by lot, and tells how much there is."""
