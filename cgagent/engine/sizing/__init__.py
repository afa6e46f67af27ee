"""How much there is, how much is promised and used, and how much each container needs."""
