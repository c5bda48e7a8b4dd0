"""Networks: parts without opinions and without losses (floor 2)."""
