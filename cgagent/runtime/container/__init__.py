"""What runs inside a container's namespaces before its command does: the zygote and its steps."""
