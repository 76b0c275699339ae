"""What runs the pods of a gang: one file each, behind the protocol in `base.py`."""
