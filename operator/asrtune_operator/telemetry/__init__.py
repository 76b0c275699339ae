"""How the operator itself does: metrics, health, logs."""
