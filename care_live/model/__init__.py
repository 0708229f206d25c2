"""Networks as files: the model card, the checks before one may run, and imports of foreign ones."""
