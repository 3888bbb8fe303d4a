"""The surface: what reviewers and operators see and press."""
