"""A stream of random numbers that is cut up, and numbers that have addresses."""

import matplotlib.pyplot as plt

figure, axes = plt.subplots(1, 2, figsize=(7.5, 2.6), layout="constrained")
colours = ("#a6cae0", "#f0d9a8")
for ax, title in zip(
    axes, ("A stream: who comes first takes first", "Addresses: the number is that of its use"), strict=True
):
    ax.set_title(title, fontsize=10)
    ax.set(xlim=(-0.1, 8.1), ylim=(-0.6, 3.2))
    ax.axis("off")
for k in range(8):
    axes[0].add_patch(plt.Rectangle((k, 2), 0.9, 0.7, facecolor="#f4f6f8", edgecolor="#5a6773"))
    axes[0].text(k + 0.45, 2.35, f"u{k}", ha="center", va="center", fontsize=9)
    owner = (k * 5 + k // 3) % 2
    axes[0].annotate("", (k + 0.45, 1.1), (k + 0.45, 1.95), arrowprops={"arrowstyle": "->", "color": "#5a6773"})
    axes[0].add_patch(plt.Rectangle((k, 0.4), 0.9, 0.6, facecolor=colours[owner], edgecolor="#5a6773"))
    axes[0].text(k + 0.45, 0.7, f"T{owner + 1}", ha="center", va="center", fontsize=8)
axes[0].text(0, -0.3, "another number of threads, other draws", fontsize=9)
for row in range(3):
    for k in range(8):
        colour = colours[int(k >= 4)]
        axes[1].add_patch(plt.Rectangle((k, 2.2 - 0.8 * row), 0.9, 0.65, facecolor=colour, edgecolor="#5a6773"))
        axes[1].text(k + 0.45, 2.52 - 0.8 * row, f"u({row},{k})", ha="center", va="center", fontsize=7)
axes[1].text(0, -0.3, "row, unit: any thread finds it, with the same bits", fontsize=9)
