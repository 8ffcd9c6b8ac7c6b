"""Makes keras_gru.onnx, a small session model of Keras written by tf2onnx, and keras_gru.json, what Keras itself answers.

Run it where TensorFlow is installed, which this project does not need:

    pip install "tensorflow-cpu==2.15.1"
    pip install --no-deps "tf2onnx==1.16.1" "onnx==1.16.2" "numpy==1.26.4" flatbuffers requests "protobuf==4.25.8"
    python export/tests/model_files/keras_gru.py
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import tensorflow as tf
import tf2onnx

HERE = Path(__file__).parent
#: Nine items behind padding, null and unknown, as export/tests/support/items_shop.py has them.
ROWS, WINDOW, WIDTH = 12, 4, 8


def main() -> None:
    """Write both files beside this one."""
    tf.keras.utils.set_random_seed(0)
    codes = tf.keras.Input((WINDOW,), dtype="int32", name="item_id_list")
    steps = tf.keras.layers.Embedding(ROWS, WIDTH, embeddings_initializer="random_normal")(codes)
    hidden = tf.keras.layers.GRU(WIDTH)(steps * 20)
    model = tf.keras.Model(codes, tf.keras.layers.Dense(ROWS, name="scores")(hidden))
    signature = [tf.TensorSpec((None, WINDOW), tf.int32, name="item_id_list")]
    tf2onnx.convert.from_keras(model, signature, output_path=str(HERE / "keras_gru.onnx"))
    sessions = [[3], [4, 5], [6, 7, 8], [9, 10, 11, 3], [5, 5, 5, 5]]
    padded = np.array([session + [0] * (WINDOW - len(session)) for session in sessions], dtype=np.int32)
    answers = {"codes": sessions, "scores": model.predict(padded, verbose=0).astype(float).tolist()}
    (HERE / "keras_gru.json").write_text(json.dumps(answers, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
