"""Run by `test_old_runtimes` in an environment of old packages that has neither torch nor deploy-prune.

The one argument is a JSON file, [{"path": file, "input": .npy, "photo": .npy or ""}, ...]: every file is run on its
input, and where there is a photo, classified and described by tensorflow's own tools. Prints a JSON list of answers.
"""

from __future__ import annotations

import ctypes
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np


def tflite(path: str, image: np.ndarray) -> tuple[list[str], np.ndarray]:
    from tflite_runtime.interpreter import Interpreter

    interpreter = Interpreter(model_path=path)
    interpreter.allocate_tensors()
    (taken,), (given,) = interpreter.get_input_details(), interpreter.get_output_details()
    interpreter.set_tensor(taken["index"], image)
    interpreter.invoke()
    return [taken["name"], given["name"]], interpreter.get_tensor(given["index"])


def onnx(path: str, image: np.ndarray) -> tuple[list[str], np.ndarray]:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (taken,), (given,) = session.get_inputs(), session.get_outputs()
    return [taken.name, given.name], session.run(None, {taken.name: image})[0]


def described(path: str, photo: np.ndarray) -> dict[str, Any]:
    """What tensorflow's reader finds, and what its classifier (that of Android's Task Library) makes of it."""
    import libusb_package

    # tflite-support links to it for accelerators that nothing here has
    ctypes.CDLL(str(libusb_package.get_library_path()))
    from tflite_support import metadata
    from tflite_support.task import vision

    displayer = metadata.MetadataDisplayer.with_model_file(path)
    classifier = vision.ImageClassifier.create_from_file(path)
    categories = classifier.classify(vision.TensorImage.create_from_array(photo)).classifications[0].categories
    return {
        "metadata": json.loads(displayer.get_metadata_json()),
        "files": displayer.get_packed_associated_file_list(),
        "scores": {each.category_name: each.score for each in categories},
    }


def main() -> None:
    answers = []
    for job in json.loads(Path(sys.argv[1]).read_text()):
        runtime = tflite if job["path"].endswith(".tflite") else onnx
        names, output = runtime(job["path"], np.load(job["input"]))
        known = described(job["path"], np.load(job["photo"])) if job["photo"] else {}
        answers.append({"names": names, "output": output.tolist(), **known})
    print(json.dumps(answers))


if __name__ == "__main__":
    main()
