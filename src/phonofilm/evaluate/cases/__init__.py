"""The clips to score and what is known about them: held-out prompts, any folder, known damage."""
