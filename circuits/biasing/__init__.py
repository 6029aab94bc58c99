"""How a layer is put on a technology: figures of the cells, bounds, operating points."""
