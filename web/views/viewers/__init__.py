"""How the page shows an argument, by kind of what is in it. Pure, and inert: what comes out is text
in pieces, each with a mark of ours; templates show every piece through `text()`.

A kind is only a guess at how to read a value. No kind leaves anything out: each says that it is
complete or how much is missing, and what is sent stands beside it as it is.
"""
