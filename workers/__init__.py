"""What goes out: fetch the new commit, render, diff, apply, prune, report."""
