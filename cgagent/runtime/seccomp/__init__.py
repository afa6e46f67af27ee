"""System call filters: the default profile, a user's profile, the compiled ones on disk."""
