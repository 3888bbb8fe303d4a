"""What decides about a call and holds to it: the guard, limits, freezes, grants, the catalogue."""
