"""The other parts of a recipe: augmentation, objectives, schedules. Importing them loads nothing heavy."""
