"""What is decided by itself about groups and containers: pure functions of plain figures.

Nothing here reads a file, asks the kernel or changes a container; the engine brings figures and
does what comes of them.
"""
