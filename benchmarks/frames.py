"""Frames for demos and measurements: a camera's slow pan and zoom over real photographs.

    python -m benchmarks.frames DIRECTORY --count 150

The photographs come inside scikit-image's wheel; nothing is downloaded.
"""

from __future__ import annotations

import argparse
import io
import math
import os
import sys
import time
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

# Real colour photographs; those that a future wheel lacks are left out.
_PHOTOGRAPHS = ("motorcycle_left.png", "coffee.png", "astronaut.png", "rocket.jpg", "chelsea.png")
# The photographs are smaller than a frame, and enlarged ones are smooth: without a sensor's noise their JPEG
# would be a third of a camera's. This much (of 255) is a small sensor's in a lit room.
_NOISE_DEVIATION = 4.0
_QUALITY = 85


def load_photographs() -> list[Image.Image]:
    """Load the photographs that scikit-image carries in its wheel.

    Raises FileNotFoundError if scikit-image is installed without any of them.
    """
    folder = files("skimage") / "data"
    found = [folder / name for name in _PHOTOGRAPHS if (folder / name).is_file()]
    if not found:
        raise FileNotFoundError(f"no photographs in {folder}; expected some of {', '.join(_PHOTOGRAPHS)}")
    return [Image.open(io.BytesIO(photograph.read_bytes())).convert("RGB") for photograph in found]


def camera_window(
    progress: float, photograph: tuple[int, int], aspect: float
) -> tuple[float, float, float, float]:
    """Say which part of a photograph the camera sees: left, upper, right, lower in its pixels.

    `progress` runs from 0 to 1 over the scene; the camera moves along a curve, and nears by a third.
    """
    width, height = photograph
    eased = (1 - math.cos(math.pi * progress)) / 2
    seen_width = min(width, height * aspect) * (0.95 - 0.3 * eased)
    seen_height = seen_width / aspect
    left = (width - seen_width) * eased
    upper = (height - seen_height) * (0.5 + 0.5 * math.sin(2 * math.pi * eased))
    return left, upper, left + seen_width, upper + seen_height


def make_frames(
    directory: Path | str,
    count: int = 150,
    size: tuple[int, int] = (1280, 720),
    quality: int = _QUALITY,
) -> list[Path]:
    """Write the frames of a slow pan and zoom as frame-00000.jpg and so on; return their paths in order.

    Each photograph is one scene. Seeded noise, like a small sensor's, is added to the enlarged photographs so
    that a 720p frame has a camera's 120–220 kB. The same arguments give the same frames. Each is renamed into
    place, so whoever watches the directory sees whole files; one that is there already is kept.
    Raises ValueError for a count, size or quality outside its range.
    """
    if count < 1 or min(size) < 16 or not 1 <= quality <= 95:
        raise ValueError(f"count ≥ 1, size ≥ 16×16, quality 1 to 95; not {count}, {size}, {quality}")
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    paths = [directory / f"frame-{number:05d}.jpg" for number in range(count)]
    # The origin stands in each file, so that frames made otherwise are made anew and not taken for these.
    origins = [
        f"cleave demo frame {number} of {count}, quality {quality}".encode() for number in range(count)
    ]
    missing = [n for n in range(count) if not _is_complete(paths[n], origins[n], size)]
    if not missing:
        return paths
    photographs = load_photographs()
    # Noise is costly to draw: every frame gets its own window of one large plane.
    width, height = size
    plane_rng = np.random.default_rng(20)
    plane = plane_rng.normal(0, _NOISE_DEVIATION, (height + 256, width + 256)).round().astype(np.int16)
    for number in missing:
        scene, progress = divmod(number * len(photographs) / count, 1)
        photograph = photographs[int(scene)]
        window = camera_window(progress, photograph.size, width / height)
        view = photograph.resize(size, Image.Resampling.BICUBIC, box=window)
        frame = Image.fromarray(_with_noise(np.asarray(view), plane, number))
        # Not *.jpg, and hidden: half a file is nobody's frame.
        partial = directory / f".{paths[number].name}.{os.getpid()}.partial"
        frame.save(partial, "JPEG", quality=quality, comment=origins[number])
        partial.replace(paths[number])
    return paths


def _with_noise(
    view: npt.NDArray[np.uint8], plane: npt.NDArray[np.int16], number: int
) -> npt.NDArray[np.uint8]:
    """Add the frame's own window of the noise plane to every channel, as brightness noise."""
    height, width = view.shape[:2]
    down, right = np.random.default_rng(number).integers(0, 256, 2)
    noise = plane[down : down + height, right : right + width, np.newaxis]
    noisy: npt.NDArray[np.uint8] = np.clip(view + noise, 0, 255).astype(np.uint8)
    return noisy


def _is_complete(path: Path, origin: bytes, size: tuple[int, int]) -> bool:
    try:
        with Image.open(path) as image:
            return image.size == size and image.info.get("comment") == origin
    except (FileNotFoundError, UnidentifiedImageError):
        return False


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the frames and say how large they are; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.frames", description=__doc__.splitlines()[0])
    parser.add_argument("directory", type=Path)
    parser.add_argument("--count", type=int, default=150, help="how many frames (default 150)")
    parser.add_argument("--width", type=int, default=1280, help="pixels (default 1280)")
    parser.add_argument("--height", type=int, default=720, help="pixels (default 720)")
    parser.add_argument("--quality", type=int, default=_QUALITY, help=f"JPEG quality (default {_QUALITY})")
    options = parser.parse_args(arguments)
    started_s = time.monotonic()
    try:
        size = (options.width, options.height)
        paths = make_frames(options.directory, options.count, size, options.quality)
    except (ValueError, OSError) as error:
        print(f"no frames: {error}", file=sys.stderr)
        return 1
    sizes_kb = sorted(path.stat().st_size / 1000 for path in paths)
    print(
        f"{len(paths)} frames in {options.directory}: {sizes_kb[0]:.0f}–{sizes_kb[-1]:.0f} kB, "
        f"median {sizes_kb[len(sizes_kb) // 2]:.0f} kB, in {time.monotonic() - started_s:.1f} s"
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
