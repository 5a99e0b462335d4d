"""The workflows room: where models meet the registry. Importing it loads no torch; running a training does."""
