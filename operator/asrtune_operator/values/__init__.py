"""Plain values that the parts of the operator hand to each other. No input or output."""
