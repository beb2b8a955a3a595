"""Thirty-two numbers as floats, as bytes and as bits."""

import matplotlib.pyplot as plt
import numpy as np

bits = np.random.default_rng(3).integers(0, 2, 32)
figure, ax = plt.subplots(figsize=(7.5, 2.1), layout="constrained")
for row, (name, width) in enumerate(
    (("float32: 128 bytes", 1.0), ("uint8: 32 bytes", 0.25), ("bits: 4 bytes", 0.03125))
):
    for k, bit in enumerate(bits):
        colour = "#0b5c8a" if bit else "#dfe5ea"
        ax.add_patch(plt.Rectangle((k * width, -row), width, 0.6, facecolor=colour, edgecolor="white", linewidth=0.4))
    ax.text(32 * width + 0.3, 0.3 - row, name, va="center")
ax.set(xlim=(0, 39), ylim=(-2.1, 0.7), title="Thirty-two units of a row, drawn to the scale of their memory")
ax.axis("off")
