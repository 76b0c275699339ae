"""FunASR's model classes behind one interface; the only place that imports FunASR."""
