"""What runs confined, in processes of its own: unpacking a layer, copying out of containers and in.

Standard library only: the children import it under ``-I -S``.
"""
