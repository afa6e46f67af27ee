"""Images in files: reading and writing archives, and images made of a container or a tree."""
