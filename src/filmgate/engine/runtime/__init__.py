"""Where and how networks run: devices, number formats, threads. Knows no product."""
