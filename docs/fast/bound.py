"""A unit whose state is known although its input is not."""

import matplotlib.pyplot as plt
import numpy as np

x = np.linspace(-8, 8, 300)
figure, ax = plt.subplots(figsize=(7.5, 2.8), layout="constrained")
ax.plot(x, 1 / (1 + np.exp(-x)), color="#5a6773")
known, left_open = "#0b5c8a", "#b5651d"
# input when it was last known, number, what follows, where that is written
for old, u, name, place, colour in (
    (3.5, 0.45, "decided: on", (3.5, 0.28), known),
    (-4.2, 0.6, "decided: off", (-4.2, 0.7), known),
    (-0.2, 0.55, "open: summed anew", (-1.3, 0.88), left_open),
):
    ax.plot([old - 1.6, old + 1.6], [u, u], color=colour, linewidth=5, alpha=0.5, solid_capstyle="butt")
    ax.plot([old], [u], "o", color=colour)
    ax.text(*place, name, ha="center", color=colour, fontsize=9)
ax.set(
    xlabel="input of the unit",
    ylabel="probability of 1",
    title="Bar: where the input can be. Height: the unit's random number",
)
ax.spines[["top", "right"]].set_visible(False)
