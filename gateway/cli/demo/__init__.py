"""`signoff demo`: the whole story on a scratch repository, with nothing to set up."""
