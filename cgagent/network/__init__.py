"""Container networks: so far what a container finds in /etc; bridges come later."""
