"""What should be done, decided by figures: pure functions and values, without any input or output.

The engine gives samples and figures of the host, and carries out what is decided as a user would.
"""
