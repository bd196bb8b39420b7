"""Diagnostics: how a model's loss, gradients, features and predictions behave around its inputs."""
