"""The figure of the front page, from the measured times in scaling.json."""

import json
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

# Runs in the folder of this file
found = json.loads(Path("scaling.json").read_text(encoding="utf-8"))
points = next(curve["points"] for curve in found["curves"] if curve["name"] == "batch")
sizes = [10, 64, 256, 1024]
own, peers = {}, {"scikit-learn": {}, "torch": {}}
for point in points:
    if point["x"] in sizes:
        row = 60_000 / point["rows"]  # of an epoch of Fashion-MNIST
        peers[point["peer"]][point["x"]] = row * point["theirs"]
        own.setdefault(point["x"], row * point["ours"])

figure, ax = plt.subplots(figsize=(7.5, 3), layout="constrained")
place = np.arange(len(sizes))
sides = (("scikit-learn", peers["scikit-learn"]), ("PyTorch, by hand", peers["torch"]), ("fastrbm", own))
for k, (name, times) in enumerate(sides):
    colour = ("#9aa5b1", "#c9ced4", "#0b5c8a")[k]
    bars = ax.bar(place + 0.27 * (k - 1), [times[size] for size in sizes], width=0.25, color=colour, label=name)
    ax.bar_label(bars, fmt="%.2g", fontsize=8)
ax.set_xticks(place, [f"{size} rows" for size in sizes])
ax.set(title="Seconds of an epoch of 60 000 images (shorter is better)", xlabel="minibatch", ylabel="seconds")
ax.spines[["top", "right"]].set_visible(False)
ax.legend(frameon=False)
