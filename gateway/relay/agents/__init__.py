"""The agent's side of the relay: requests, responses, sessions, and an agent that goes away."""
