"""Is what was applied there, and does it work? In kstatus' terms, with the reason of a failing workload."""
