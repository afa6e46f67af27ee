"""``top``: without a container, all of them live on the whole screen."""
