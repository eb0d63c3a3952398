"""What README shows runs."""

import re
import sys
from pathlib import Path
from types import ModuleType

import jax.numpy as jnp
import pytest

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


class Recorder:
    """Stands in for a writer of TensorBoard or a run of Weights & Biases."""

    def __init__(self, *_, **__):
        self.logged: list[tuple] = []
        self.ended = False

    def add_scalar(self, name, value, step):
        self.logged.append((step, name, value))

    def log(self, numbers, step):
        self.logged += [(step, name, value) for name, value in numbers.items()]

    def close(self):
        self.ended = True

    finish = close


@pytest.mark.deep
def test_its_code_runs(tmp_path, monkeypatch):
    """All of it in one go, as a reader would; then the two callbacks, with stand-ins for the packages they need."""
    monkeypatch.chdir(tmp_path)
    for name, content in (("torch.utils.tensorboard", {"SummaryWriter": Recorder}), ("wandb", {"init": Recorder})):
        module = ModuleType(name)
        module.__dict__.update(content)
        monkeypatch.setitem(sys.modules, name, module)
    here: dict = {}
    code = "\n".join(re.findall(r"```python\n(.*?)```", README, re.DOTALL))
    exec(compile(code, "README.md", "exec"), here)
    assert jnp.isfinite(here["fitted"].history["loss"]).all()
    assert here["checkpoint"].saved is not None
    board, biases = here["TensorBoard"]("folder"), here["WeightsAndBiases"](project="maglev")
    arguments = (here["net"], here["data"], here["lddn"].losses.MeanSquaredError())
    fitted = here["lddn"].fit(*arguments, here["lddn"].LevenbergMarquardt(), epochs=2, callbacks=[board, biases])
    for recorder in (board.writer, biases.run):
        assert recorder.ended
        losses = [value for _, name, value in recorder.logged if name == "loss"]
        assert losses == fitted.history["loss"].tolist()
