"""Codes of new data: python pipelines/encode.py run=digits-vae input=<folder|npz|npy|csv> out=codes.npz."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))  # a DVC experiment must run its own checkout's code

USAGE = "usage: python pipelines/encode.py run=<run or folder> input=<folder, image, npz, npy, csv, parquet> out=<file.npz>"


def main(words: list[str]) -> None:
    given = dict(word.split("=", 1) for word in words if "=" in word)
    if sorted(given) != ["input", "out", "run"] or len(given) != len(words):
        sys.exit(USAGE)
    from latent_atlas.importing import quickly

    with quickly():
        from latent_atlas.encoding import encode_file

    try:
        done = encode_file(given["run"], Path(given["input"]).expanduser(), Path(given["out"]).expanduser())
    except ValueError as error:  # LoadError and DataError: one line that says what to do
        sys.exit(f"encode: {error}")
    for item, reason in done.rejected:
        print(f"encode: set aside {item}: {reason}", file=sys.stderr)
    print(f"{given['out']}: {done.items} items, {done.dimensions} dimensions, {len(done.rejected)} set aside")


if __name__ == "__main__":
    main(sys.argv[1:])
