"""Networks as files: the model card, checks before one may run, rewritings (exact, 8 bits), imports of foreign ones."""
