"""The command ``fastrbm``."""
