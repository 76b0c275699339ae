"""Every decision of the operator, pure: spec, last status and what is observed -> actions and the next status."""
