"""Hardware, money and time of a move from one model to another: what it costs, when it pays, how sure that is."""
