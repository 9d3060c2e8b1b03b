# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""Pictures, as SVG and PNG, from the JSON files of a run: charts.py [FOLDER [OUT [KIND...]]] draws those of a folder again,
in all kinds or in these.

A group's module has charts(data), which gives what to draw as plain values: a name, a title, and either bars or lines.
"""
import importlib
import json
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.append(os.path.join(os.path.dirname(HERE), "lab"))  # what groups import
KINDS = ("svg", "png")
COLOURS = {"libvh": "#1b6ca8", "floor": "#9aa5b1", "rust virtio-queue": "#c8553d"}
OTHERS = ("#1b6ca8", "#5b8c5a", "#7d5ba6", "#e0a030", "#b0b0b0", "#c8553d")


def _setup():
    import matplotlib
    matplotlib.use("Agg")
    matplotlib.rcParams.update({"font.size": 9, "svg.hashsalt": "libvh", "axes.spines.top": False,
                                "axes.spines.right": False, "svg.fonttype": "none", "font.family": "sans-serif"})
    import matplotlib.pyplot as plt
    return plt


def _colours(names):
    rest = iter(OTHERS * 4)
    return {n: COLOURS.get(n) or next(rest) for n in names}


def _bars(axes, chart):
    """series: {name: {category: value}}; a value that is not there leaves a gap."""
    series = chart["bars"]
    categories = list(dict.fromkeys(c for values in series.values() for c in values))
    colours, width = _colours(series), 0.8 / len(series)
    for i, (name, values) in enumerate(series.items()):
        at = [c + (i - (len(series) - 1) / 2) * width for c, k in enumerate(categories) if k in values]
        tall = [values[k] for k in categories if k in values]
        bars = axes.bar(at, tall, width * 0.92, label=name, color=colours[name])
        axes.bar_label(bars, [_short(v) for v in tall], fontsize=5 if len(series) > 4 else 6, padding=1)
    axes.set_xticks(range(len(categories)), categories)


def _short(v):
    """A label of a bar, narrow enough for its neighbours."""
    for limit, unit in ((1e6, "M"), (1e4, "k")):
        if v >= limit:
            return f"{v / (1e6 if unit == 'M' else 1e3):.3g}{unit}"
    return f"{v:.0f}" if v >= 10 else f"{v:.2f}"


def _lines(axes, chart):
    """series: {name: [(x, y), ...]}"""
    series = chart["lines"]
    colours = _colours(series)
    for name, points in series.items():
        axes.plot([x for x, _ in points], [y for _, y in points], marker="o", markersize=3, label=name, color=colours[name])
    ticks = sorted({x for points in series.values() for x, _ in points})
    axes.set_xscale("log", base=2)
    axes.set_xticks(ticks, [str(t) for t in ticks])
    axes.minorticks_off()
    axes.set_xlabel(chart["x"])


def draw(chart, out, kinds=KINDS):
    """The paths that were written."""
    plt = _setup()
    figure, axes = plt.subplots(figsize=chart.get("inches", (7.2, 3.4)))
    (_bars if "bars" in chart else _lines)(axes, chart)
    if chart.get("log"):
        axes.set_yscale("log")
    else:
        axes.set_ylim(bottom=0)
    axes.set_title(chart["title"], loc="left", fontsize=10)
    axes.set_ylabel(chart["y"])
    axes.legend(frameon=False, fontsize=8)
    figure.text(0.01, 0.005, chart.get("foot", ""), fontsize=6, color="#666666")
    figure.tight_layout(rect=(0, 0.02, 1, 1))
    paths = [os.path.join(out, f"{chart['name']}.{kind}") for kind in kinds]
    for path in paths:
        figure.savefig(path, dpi=120, **({"metadata": {"Date": None}} if path.endswith("svg") else {}))
    plt.close(figure)
    return paths


def draw_group(path, out, kinds=KINDS):
    """All pictures of one GROUP.json; those that have nothing to show are not drawn."""
    with open(path, encoding="utf-8") as f:
        data = json.load(f)
    module = importlib.import_module(data["group"])
    foot = f"{data['machine']['cpu']}, {data['machine']['cpus']} CPUs; {data['versions'].get('gcc', '')}; load {data['machine']['load'][0]:.1f}; " \
        f"{data['date'][:10]}"
    charts = [dict(c, foot=foot) for c in getattr(module, "charts", lambda _: [])(data) if any((c.get("bars") or c.get("lines") or {}).values())]
    return [p for c in charts for p in draw(c, out, kinds)]


def main():
    folder = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(os.path.dirname(HERE)), "build", "bench")
    out = sys.argv[2] if len(sys.argv) > 2 else folder
    os.makedirs(out, exist_ok=True)
    for name in sorted(os.listdir(folder)):
        if name.endswith(".json"):
            for path in draw_group(os.path.join(folder, name), out, sys.argv[3:] or KINDS):
                print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
