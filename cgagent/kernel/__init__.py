"""The system calls that Python's standard library lacks, declared once and typed.

Standard library and `cgagent.errors` only: the supervisor and the first process of every
container run this code under ``python -I -S``. Failures raise `OSError` with the kernel's errno.
"""
