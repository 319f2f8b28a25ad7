"""Line plots as SVG, by plain string formatting: no library is needed and the files diff well."""
import math

COLOURS = ["#1f6f8b", "#c8553d", "#5b8c5a", "#8e6bbf", "#b8860b", "#444444"]
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 640, 400, 70, 20, 40, 50


def ticks(low, high):
    """Powers of two for an axis of sizes, threads and batches; of ten, with 2 and 5, for others."""
    steps = [m * 10 ** e for e in range(-4, 9) for m in (1, 2, 5)]
    return [t for t in steps if low <= t * 1.0001 and t <= high * 1.0001]


def text(x, y, content, anchor="middle", extra=""):
    content = str(content).replace("&", "&amp;").replace("<", "&lt;")
    return '<text x="%.1f" y="%.1f" text-anchor="%s"%s>%s</text>' % (x, y, anchor, extra, content)


def plot(path, title, x_label, y_label, series, x_ticks=None):
    """series: {name: [(x, y), ...]}, both axes logarithmic, so that a power law is a straight line. x_ticks: which x to
    name, as {x: text}."""
    xs = [x for points in series.values() for x, _ in points]
    ys = [y for points in series.values() for _, y in points]
    low, high = min(ys) / 1.3, max(ys) * 1.3
    left, right = min(xs), max(max(xs), min(xs) * 1.01)
    at_x = lambda x: LEFT + (WIDTH - LEFT - RIGHT) * math.log(x / left) / math.log(right / left)
    at_y = lambda y: HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * math.log(y / low) / math.log(high / low)
    out = ['<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">'
           % (WIDTH, HEIGHT), '<rect width="%d" height="%d" fill="white"/>' % (WIDTH, HEIGHT),
           text(WIDTH / 2, 22, title, extra=' font-size="15"')]
    for x, name in (x_ticks or {x: "%g" % x for x in sorted(set(xs))}).items():
        out.append('<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" stroke="#ddd"/>'
                   % (at_x(x), TOP, at_x(x), HEIGHT - BOTTOM))
        out.append(text(at_x(x), HEIGHT - BOTTOM + 16, name))
    for y in ticks(low, high):
        out.append('<line x1="%d" y1="%.1f" x2="%d" y2="%.1f" stroke="#ddd"/>' % (LEFT, at_y(y), WIDTH - RIGHT, at_y(y)))
        out.append(text(LEFT - 6, at_y(y) + 4, "%g" % y, "end"))
    out.append(text(WIDTH / 2, HEIGHT - 12, x_label))
    out.append(text(16, HEIGHT / 2, y_label, extra=' transform="rotate(-90 16 %d)"' % (HEIGHT / 2)))
    for i, (name, points) in enumerate(series.items()):
        colour = COLOURS[i % len(COLOURS)]
        out.append('<polyline fill="none" stroke="%s" stroke-width="2" points="%s"/>'
                   % (colour, " ".join("%.1f,%.1f" % (at_x(x), at_y(y)) for x, y in points)))
        out += ['<circle cx="%.1f" cy="%.1f" r="3" fill="%s"/>' % (at_x(x), at_y(y), colour) for x, y in points]
        out.append(text(LEFT + 10, TOP + 16 + 16 * i, name, "start", ' fill="%s"' % colour))
    with open(path, "w") as f: f.write("\n".join(out + ["</svg>", ""]))
