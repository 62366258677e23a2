"""Where a model looks: maps of what speaks for a class, whether they tell the truth, and how they are drawn."""
