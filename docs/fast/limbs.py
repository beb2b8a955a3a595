"""An integer weight in four bytes, each multiplied on its own by states that are bytes."""

import matplotlib.pyplot as plt

figure, ax = plt.subplots(figsize=(7.5, 2.7), layout="constrained")
names = ("byte 3, seldom needed", "byte 2", "byte 1", "byte 0")
colours = ("#eceff2", "#e3eef5", "#c5dcea", "#a6cae0")
for k, (name, colour) in enumerate(zip(names, colours, strict=True)):
    x = 2.5 * k
    ax.add_patch(plt.Rectangle((x, 3.1), 2.4, 0.7, facecolor=colour, edgecolor="#5a6773"))
    ax.text(x + 1.2, 3.45, name, ha="center", va="center", fontsize=8.5)
    ax.text(x + 1.2, 2.25, "× states\n(bytes 0 or 1)", ha="center", va="center", fontsize=8)
    ax.add_patch(plt.Rectangle((x, 0.9), 2.4, 0.7, facecolor="#f6ecd9", edgecolor="#5a6773"))
    ax.text(x + 1.2, 1.25, "exact sum", ha="center", va="center", fontsize=8.5)
    for top, bottom in ((3.05, 2.65), (1.9, 1.65)):
        ax.annotate("", (x + 1.2, bottom), (x + 1.2, top), arrowprops={"arrowstyle": "->", "color": "#0b5c8a"})
    ax.text(x + 1.2, 0.55, f"· 2^{24 - 8 * k}" if k < 3 else "· 1", ha="center", va="center", fontsize=8.5)
ax.text(4.95, 0.05, "added up: the very integer that look-ups find", ha="center", fontsize=9)
ax.set(xlim=(-0.1, 10), ylim=(-0.1, 4), title="On a tile unit: one weight of 32 bits, four products of bytes")
ax.axis("off")
