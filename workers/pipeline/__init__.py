"""A push to the code's repository becomes an image in its registry, and the image an event."""
