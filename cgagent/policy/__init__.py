"""What should be done, and why: decided by figures, in pure functions of plain values.

Nothing here reads a file, asks the kernel or changes a container. The engine brings figures, and
carries out what is decided as a user would.
"""
