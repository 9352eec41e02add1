"""Print the peak of the epidemic: python3 src/run.py"""
import json
import pathlib
import sys

top = pathlib.Path(__file__).resolve().parent.parent
sys.dont_write_bytecode = True
sys.path.insert(0, str(top / "src"))
from epi_sir import simulate  # noqa: E402

params = json.loads((top / "config" / "params.json").read_text())
curve = simulate(**params)

if __name__ == "__main__":
    peak = max(range(len(curve)), key=curve.__getitem__)
    print(f"peak on day {peak + 1}: {curve[peak]:.0f} infected")
