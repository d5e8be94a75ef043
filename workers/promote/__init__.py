"""From an image that was published to a pull request in the manifest repository, and to what became of it."""
