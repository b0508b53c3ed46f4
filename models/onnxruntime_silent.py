"""Import onnxruntime so that it tells nobody of it.

Its packages (1.31 does) report their use over the network, under an identity that they keep in the home directory's
cache. A device of ours speaks to its cloud and to nobody else. ORT_DISABLE_TELEMETRY=0 brings the reports back.

Everything in Cleave that needs onnxruntime takes it from here: `from models.onnxruntime_silent import onnxruntime`.
"""

from __future__ import annotations

import os

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # it is read while the library is loaded

import onnxruntime as onnxruntime
