"""A pull request's plan: what merging it would change in the clusters, said on the pull request before anybody merges."""
