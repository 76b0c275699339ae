"""`kubectl asrtune`: what people ask of their runs, with their own kubeconfig and rights."""

from asrtune_operator.kubectl.main import main

__all__ = ["main"]
