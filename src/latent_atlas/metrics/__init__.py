"""Pure functions of arrays, and thin streaming ``torchmetrics.Metric`` classes over them (floor 4)."""
