"""Mixed bfloat16: weights, logits and what is exported stay float32."""

import numpy as np
from synthetic import prepared_data

import tfprune
from tfprune.backend import tf
from tfprune.config import from_settings
from tfprune.pruning.weights import read_weights
from tfprune.training import schedules
from tfprune.training.epoch_program import Feeding
from tfprune.training.trainer import Trainer

DATA = prepared_data(examples=20)


def test_weights_stay_float32_and_tflite_computes_the_same_function():
    config = from_settings({"dtype": "mixed_bfloat16", "width": 0.1, "batch_size": 8})
    trainer = Trainer(config, DATA.input_shape, DATA.num_classes)
    trainer.attach(DATA, Feeding(0, 0, schedules.fixed(0.01))).run(0)
    assert {w.dtype for w in read_weights(trainer.model).values()} == {np.dtype("float32")}
    interpreter = tf.lite.Interpreter(model_content=tfprune.to_tflite(trainer.model))
    interpreter.allocate_tensors()
    image = ((DATA.test_images[:1] / 255 - DATA.mean) / DATA.std).astype(np.float32)
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image)
    interpreter.invoke()
    got = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    # The trained network rounds its activations to bfloat16's 8 bits.
    np.testing.assert_allclose(got, trainer.model(image), atol=0.05)
