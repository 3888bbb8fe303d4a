"""The program behind `signoff connect NAME`: a stdio server for the host, the gateway behind it."""
