"""Procedural surfaces (docs/surfaces.md) as NumPy arrays, through libblemish and ctypes.

usage: surfaces.py [LIBRARY]   paints a few thousand and prints the rate
LIBRARY is libblemish.so; otherwise $BLEMISH_LIBRARY, otherwise build/release of this source tree.
"""
import ctypes
import os
import queue
import sys
import threading
import time

import numpy as np

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILT = os.path.join(ROOT, "build", "release", "libblemish.so")


class Settings(ctypes.Structure):  # BlemishSurfaceSettings
    _fields_ = [("seed", ctypes.c_uint64), ("width", ctypes.c_size_t), ("height", ctypes.c_size_t),
                ("families", ctypes.c_uint64), ("nuisance", ctypes.c_float), ("threads", ctypes.c_int)]


class Surfaces:
    """Paints pictures of one size. families are names; None: all of them."""

    def __init__(self, size=128, seed=1, families=None, nuisance=1.0, threads=0, library=None):
        self.library = ctypes.CDLL(library or os.environ.get("BLEMISH_LIBRARY") or BUILT)
        self.family_names = self._names("blemish_surface_family")
        self.defect_names = self._names("blemish_surface_defect")
        self.settings = Settings()
        self.library.blemish_surface_defaults(ctypes.byref(self.settings))
        self.settings.seed, self.settings.nuisance, self.settings.threads = seed, nuisance, threads
        self.settings.height, self.settings.width = (size, size) if isinstance(size, int) else size
        self.families = sorted(self.family_names.index(f) for f in families or self.family_names)
        self.settings.families = sum(1 << f for f in self.families)

    def _names(self, function):
        get = getattr(self.library, function)
        get.restype, get.argtypes = ctypes.c_char_p, [ctypes.c_size_t]
        names = []
        while get(len(names)) is not None:
            names.append(get(len(names)).decode())
        return names

    def family_of(self, program):
        """The name of the family that a program is drawn from."""
        return self.family_names[self.families[program % len(self.families)]]

    def paint(self, programs, samples, defects=None):
        """(n, height, width, 3) uint8 and, with defects (indexes of defect_names, -1 for none), masks (n, height, width)
        of 0 and 255. The call releases Python's lock."""
        programs = np.ascontiguousarray(programs, np.uint64)
        samples = np.ascontiguousarray(samples, np.uint64)
        if programs.ndim != 1 or programs.shape != samples.shape:
            raise ValueError("programs, samples: expected two lists of one length")
        n, shape = len(programs), (len(programs), self.settings.height, self.settings.width)
        rgb = np.empty(shape + (3,), np.uint8)
        masks = None
        if defects is not None:
            defects = np.ascontiguousarray(defects, np.int32)
            if defects.shape != programs.shape:
                raise ValueError("defects: expected a list as long as programs")
            masks = np.empty(shape, np.uint8)
        error = ctypes.create_string_buffer(1024)
        pointers = [None if a is None else a.ctypes.data_as(ctypes.c_void_p)
                    for a in (programs, samples, defects, rgb, masks)]
        if self.library.blemish_surface_images(ctypes.byref(self.settings), ctypes.c_size_t(n), *pointers, error) != 0:
            raise ValueError(error.value.decode())
        return rgb if masks is None else (rgb, masks)

    def stream(self, draw, first=0, ahead=2):
        """Yields (step, draw(step), painted) for step = first, first + 1, ... and paints `ahead` steps in a thread.
        draw(step) gives paint()'s arguments and depends on nothing else, so that a run goes on exactly where it
        stopped."""
        done, steps = threading.Event(), queue.Queue(ahead)

        def put(item):
            while not done.is_set():
                try:
                    return steps.put(item, timeout=0.2)
                except queue.Full:
                    pass

        def work():
            step = first
            try:
                while not done.is_set():
                    arguments = draw(step)
                    put((step, arguments, self.paint(*arguments)))
                    step += 1
            except Exception as e:  # raised where it is read
                put(e)

        threading.Thread(target=work, daemon=True).start()
        try:
            while True:
                item = steps.get()
                if isinstance(item, Exception):
                    raise item
                yield item
        finally:
            done.set()


def main():
    surfaces = Surfaces(library=sys.argv[1] if len(sys.argv) > 1 else None)
    count, batch = 0, 256

    def draw(step):
        r = np.random.Generator(np.random.Philox(key=step))
        return r.integers(0, 5000, batch), r.integers(0, 1 << 40, batch)

    again = surfaces.paint(*draw(0))
    start = time.monotonic()
    for step, _, pictures in surfaces.stream(draw):
        if step == 0 and not np.array_equal(pictures, again):
            sys.exit("surfaces: two calls gave two pictures")
        count += len(pictures)
        if step == 15:
            break
    print("%d families, %d pictures of 128x128, %.0f a second" %
          (len(surfaces.family_names), count, count / (time.monotonic() - start)))


if __name__ == "__main__":
    main()
