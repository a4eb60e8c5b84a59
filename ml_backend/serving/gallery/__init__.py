"""The cells of a project as pictures, and what people decide about them."""
