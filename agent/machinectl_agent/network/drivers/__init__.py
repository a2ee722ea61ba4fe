"""What carries the packets of a network: one file per driver behind one interface."""
