"""What many tests stand on: commands started fast, and whatever else more than one folder uses."""
