"""The API of asrtune: what a manifest may say, and what a pod or a laptop run gets.

Two contracts live here and nowhere else: the Kubernetes API (`finetune`, `runtime`) and the resolved
`runspec`. The operator and the trainer meet only in this package.
"""

from typing import Final

GROUP: Final = "asrtune.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = "asrtune.dev/v1alpha1"  # a literal, so that the models can declare it as their type
