"""Between the eras: an agent of one revision in front of a server that only speaks the other."""
