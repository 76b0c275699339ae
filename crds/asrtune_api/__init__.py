"""The API of asrtune: what a manifest may say, and what a pod or a laptop run gets.

Two contracts live here and nowhere else: the Kubernetes API (`finetune`, `runtime`) and the resolved
`runspec`. The operator and the trainer meet only in this package.
"""

GROUP = "asrtune.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
