"""From a commit to an image in a registry: the commit's files in a scratch folder, a builder of this machine, and names."""
