"""Custom resources: read from the cluster, handed on to every process, told what became of them, and ended in order."""
