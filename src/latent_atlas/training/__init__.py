"""The fit: the only Lightning code (``module``, ``fit``) and the only MLflow code (``tracking``) (floor 5)."""
