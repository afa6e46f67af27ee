"""What the page costs: the browser that shows it (`drawing`), and the agent (`followers`)."""
