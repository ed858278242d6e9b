"""Pretraining of the bundled backbones on procedural textures of nature."""
