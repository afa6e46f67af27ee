"""Sessions with a container: attached clients, commands run inside it, files copied, probes."""
