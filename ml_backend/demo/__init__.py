"""Images to try the loop on: real ones by hash, and generated ones where there is no network."""
