"""How devices deviate: seeds, distributions, laws, transistors."""
