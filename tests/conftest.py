"""Eight virtual devices, one thread of torch, and nothing that differs from run to run.

With FUNCTIONAL_ADAM_DEVICE=cuda JAX and the tests of `torch_cases` compute on that device.
"""

import os

os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=8"
os.environ["JAX_PLATFORMS"] = ",".join(
    dict.fromkeys([os.environ.get("FUNCTIONAL_ADAM_DEVICE", "cpu"), "cpu"])
)
os.environ.setdefault("MPLBACKEND", "Agg")
# No test finds what another run has compiled.
os.environ["FUNCTIONAL_ADAM_CACHE"] = "off"

import hypothesis
import torch

torch.set_num_threads(1)

hypothesis.settings.register_profile(
    "tests",
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("tests")


def pytest_configure(config):
    # The table has a row of moments kept in float16; what is said of it is tested in one place.
    config.addinivalue_line("filterwarnings", "ignore:nu_dtype=float16:UserWarning")
