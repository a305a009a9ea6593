"""The engine: what carries a study's stages out, in one process or many. It makes no numbers."""
