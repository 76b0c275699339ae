"""Real Kubernetes parts as processes on loopback. README.md beside this file says what and how."""
