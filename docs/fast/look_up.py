"""Four weights, the sixteen sums of them, and sixteen rows that each take one."""

import matplotlib.pyplot as plt
import numpy as np

weights = np.array([7, -3, 2, 5])
states = np.random.default_rng(1).integers(0, 2, (6, 4))
sums = (np.arange(16)[:, None] >> np.arange(4) & 1) @ weights
figure, ax = plt.subplots(figsize=(7.5, 3.6), layout="constrained")


def cell(x, y, text, colour="white"):
    """Draw a box with a number."""
    ax.add_patch(plt.Rectangle((x, y), 1, 0.8, facecolor=colour, edgecolor="#5a6773", linewidth=0.8))
    ax.text(x + 0.5, y + 0.4, str(text), ha="center", va="center", fontsize=9)


ax.text(-0.2, 7.4, "four weights of a hidden unit, as integers", fontsize=9)
for k, weight in enumerate(weights):
    cell(k, 6.4, weight, "#e3eef5")
ax.text(-0.2, 5.6, "all sums of them: one register", fontsize=9)
for k, total in enumerate(sums):
    cell(k, 4.6, total, "#f6ecd9")
    ax.text(k + 0.5, 4.35, f"{k:04b}"[::-1], ha="center", va="top", fontsize=7, color="#5a6773")
for row, bits in enumerate(states):
    at = int(bits @ (1 << np.arange(4)))
    x = 2.7 * row
    for k, bit in enumerate(bits):
        ax.text(x + 0.28 + 0.35 * k, 1.55, str(bit), ha="center", fontsize=9, color="#0b5c8a" if bit else "#8a96a1")
    cell(x + 0.3, 0.4, sums[at], "#f6ecd9")
    ax.annotate(
        "", (x + 0.8, 1.95), (at + 0.5, 3.85), arrowprops={"arrowstyle": "->", "color": "#0b5c8a", "linewidth": 0.8}
    )
ax.text(-0.2, -0.2, "states of these four units in six of sixteen rows, and what each row adds", fontsize=9)
ax.set(xlim=(-0.3, 16.3), ylim=(-0.4, 8), title="One permutation and one addition do 64 multiply-adds")
ax.axis("off")
