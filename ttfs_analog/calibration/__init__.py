"""What a laboratory can know of one chip: from spike times that it measured."""
