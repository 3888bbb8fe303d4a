"""One server, method by method: how a call is judged, held, run and answered."""
