"""Draws minibatch.svg: ``python docs/design/minibatch.py`` writes it beside this file."""

from pathlib import Path

WIDTH, HEIGHT = 960, 560
BOX = 'rx="6" stroke="#334" stroke-width="1.2"'
#: (x, y, width, height, fill, title, lines)
BOXES = (
    (
        20,
        20,
        270,
        96,
        "#eef3fb",
        "fit(X)",
        (
            "options are checked _estimator/options",
            "X becomes Rows _estimator/base, _data",
            "a state is made _estimator/fitting",
        ),
    ),
    (
        345,
        20,
        270,
        96,
        "#eef3fb",
        "the loop of passes",
        ("order of the rows _data/split", "plan of the pass _estimator/options", "history, callbacks _fit/loop"),
    ),
    (
        670,
        20,
        270,
        96,
        "#eef3fb",
        "who does the minibatches?",
        ("backend.trains_whole_passes(...)", "yes: Backend.train, one native call", "no: _fit/minibatch, step by step"),
    ),
    (
        20,
        190,
        270,
        130,
        "#eaf6ea",
        "positive phase",
        (
            "rows -> words, planes (bits)",
            "inputs = b + W v (exact integers)",
            "means or states of h (sigmoid, draw)",
            "address: seed, step, row, neuron",
        ),
    ),
    (
        345,
        190,
        270,
        130,
        "#eaf6ea",
        "negative phase",
        (
            "start: data (CD) or chains (PCD)",
            "k sweeps: v given h, h given v",
            "or a population, or an exact sum",
            "_fit/negative, samplers/",
        ),
    ),
    (
        670,
        190,
        270,
        130,
        "#eaf6ea",
        "gradient",
        (
            "<h v> of data - <h v> of model",
            "coincidences of bits are counted",
            "grey and real rows: sums in a fixed order",
            "regularisers that need whole arrays",
        ),
    ),
    (
        670,
        400,
        270,
        130,
        "#fdf3e4",
        "update",
        (
            "penalties, clipping, rule, slots",
            "_kernels/rules and its native forms",
            "weights -> integers W 2^k again",
            "k from the largest magnitudes",
        ),
    ),
    (
        345,
        400,
        270,
        130,
        "#fdf3e4",
        "state after it",
        (
            "parameters, slots",
            "chains, next Gibbs step, updates",
            "extras by name",
            "_fit/state: all that a file keeps",
        ),
    ),
    (
        20,
        400,
        270,
        130,
        "#fdf3e4",
        "between minibatches",
        (
            "signals and callbacks have their turn",
            "a device settles what was changed",
            "weights too large for integers:",
            "one minibatch of dense products, try again",
        ),
    ),
)
#: (x1, y1, x2, y2)
ARROWS = (
    (290, 68, 343, 68), (615, 68, 668, 68), (805, 116, 805, 150), (805, 150, 155, 150), (155, 150, 155, 188),
    (290, 255, 343, 255), (615, 255, 668, 255), (805, 320, 805, 398), (670, 465, 617, 465), (345, 465, 292, 465),
    (155, 400, 155, 322),
)  # fmt: skip


def main() -> None:
    """Write the picture."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif">',
        '<defs><marker id="head" markerWidth="9" markerHeight="7" refX="8" refY="3.5" orient="auto">'
        '<polygon points="0 0, 9 3.5, 0 7" fill="#334"/></marker></defs>',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
    ]
    for x1, y1, x2, y2 in ARROWS:
        head = "" if (x1, y1) in ((805, 116), (805, 150)) else ' marker-end="url(#head)"'
        parts.append(f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="#334" stroke-width="1.4"{head}/>')
    for x, y, width, height, fill, title, lines in BOXES:
        parts.append(f'<rect x="{x}" y="{y}" width="{width}" height="{height}" fill="{fill}" {BOX}/>')
        parts.append(f'<text x="{x + 12}" y="{y + 22}" font-size="15" font-weight="bold">{title}</text>')
        for k, line in enumerate(lines):
            text = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
            parts.append(f'<text x="{x + 12}" y="{y + 45 + 21 * k}" font-size="12.5">{text}</text>')
    Path(__file__).with_name("minibatch.svg").write_text("\n".join([*parts, "</svg>"]) + "\n")


if __name__ == "__main__":
    main()
