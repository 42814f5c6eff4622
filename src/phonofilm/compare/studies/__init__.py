"""The papers' claims as studies: recipes that are compared."""
