"""Technologies: sizes, corners, matching, and model cards out of process kits."""
