"""What administrators do: the Tools page, grants, reviewers, and the policy with its trials."""
