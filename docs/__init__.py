"""The pages of the documentation, and the generator of those that the code has the texts of."""
