"""Images to try the loop on: real ones by hash, and generated ones where there is no network."""

from ml_backend.samples.demo import DemoImages, demo_images
from ml_backend.samples.generator import field

__all__ = ["DemoImages", "demo_images", "field"]
