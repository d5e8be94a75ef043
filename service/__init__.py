"""What comes in: webhooks, answered in milliseconds. Never touches Git or the cluster."""
