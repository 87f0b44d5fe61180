"""What people read: the report, the README's table, the model card."""
