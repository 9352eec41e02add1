"""Draw the epidemic as SVG: python3 src/plot.py >epidemic.svg. The line is the model; the
dots are the counts that it is fitted to, where the role has data/."""
import csv

from run import curve, top

WIDTH, HEIGHT, EDGE = 640, 320, 20


def place(day, infected):
    x = EDGE + (WIDTH - 2 * EDGE) * day / len(curve)
    y = HEIGHT - EDGE - (HEIGHT - 2 * EDGE) * infected / max(curve)
    return f"{x:.1f},{y:.1f}"


counts = []
if (top / "data").exists():
    with open(top / "data/cases.csv", newline="") as f:
        counts = [(int(row["day"]), int(row["infected"])) for row in csv.DictReader(f)]

print(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}">')
for count in counts:
    x, y = place(*count).split(",")
    print(f'<circle cx="{x}" cy="{y}" r="3" fill="none" stroke="gray"/>')
line = " ".join(place(day, infected) for day, infected in enumerate(curve, 1))
print(f'<polyline points="{line}" fill="none" stroke="black"/>')
print("</svg>")
