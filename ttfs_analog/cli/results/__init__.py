"""What the commands do, apart from their options: results as dicts, text and drawings."""
