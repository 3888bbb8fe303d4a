"""Values and rendering of the page, no routes."""
