"""What all tests share: quiet TensorFlow, bits that repeat."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
