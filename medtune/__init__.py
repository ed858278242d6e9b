"""Adapt natural-image backbones to medical images with few labels."""
