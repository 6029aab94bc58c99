"""Process kits read on load: model files as untrusted text in, one model card of plain numbers out."""
