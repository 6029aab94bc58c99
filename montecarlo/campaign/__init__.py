"""A characterization: plan, store, and how it is carried out."""
