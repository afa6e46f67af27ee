"""Access to the agent is checked here before the routes, so for both APIs alike."""
