"""The demo: the whole loop on handwritten digits, with ideal sources and on transistors."""
