"""Why does it wait: what is asked of the cluster (`evidence.py`), one sentence from the answers (`explain.py`)."""
