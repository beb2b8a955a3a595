"""A minibatch as many small operations, and as one region."""

import matplotlib.pyplot as plt

figure, ax = plt.subplots(figsize=(7.5, 2.9), layout="constrained")
steps = ("hidden", "visible", "hidden", "gradient", "update")
colours = ("#a6cae0", "#c5dcea", "#a6cae0", "#f0d9a8", "#cfe3cf")


def line(y, gap, name):
    """Draw two threads through the steps of a minibatch, with pauses between these."""
    for thread in range(2):
        x = 0.0
        for step, colour in zip(steps, colours, strict=True):
            ax.add_patch(plt.Rectangle((x, y - 0.45 * thread), 1.6, 0.38, facecolor=colour, edgecolor="#5a6773"))
            if thread == 0:
                ax.text(x + 0.8, y + 0.19, step, ha="center", va="center", fontsize=8)
            if gap > 0.2 and thread == 0 and step != "update":
                ax.add_patch(
                    plt.Rectangle(
                        (x + 1.65, y - 0.45),
                        gap - 0.1,
                        0.83,
                        facecolor="#eceff2",
                        hatch="///",
                        edgecolor="#9aa5b1",
                        linewidth=0,
                    )
                )
            x += 1.6 + gap
    ax.text(0, y + 0.55, name, fontsize=9)


line(2.2, 0.9, "An operation each: back to Python, arrays to memory, threads end and begin")
line(0.4, 0.08, "One region: threads stay, wait for each other at barriers, data stay in the cache")
ax.set(xlim=(-0.1, 12), ylim=(-0.3, 3.3), title="A minibatch on two threads")
ax.axis("off")
