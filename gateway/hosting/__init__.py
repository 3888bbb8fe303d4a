"""Serving: the HTTP server, its connections and logs, and the name of a process."""
