"""Trainers of others: Hugging Face, Lightning, torch's own tools. Bit for bit as under torch."""

from __future__ import annotations

import gc
import os
import socket
import warnings

# Read when the hub's client is imported.
os.environ["HF_HUB_OFFLINE"] = "1"

import pytest
import torch
from client_cases import (
    KINDS,
    TORCH_WARNS,
    assert_moved,
    assert_same,
    is_exact,
    label,
    ours,
    theirs,
)

kinds = pytest.mark.parametrize("kind", KINDS, ids=label)
pytestmark = pytest.mark.filterwarnings(f"ignore:{TORCH_WARNS[0]}:{TORCH_WARNS[1].__name__}")
STEPS, HALF = 8, 4

# What Lightning itself warns of, and no caller can help.
LIGHTNING_WARNS = [
    # It asks torch's pytrees a question in a form that torch is about to drop.
    (r"`isinstance\(treespec, LeafSpec\)` is deprecated", FutureWarning),
    # A run that resumes into a folder of its own forgets which file was the best; there is none.
    (r"The dirpath has changed from ", UserWarning),
]


@pytest.fixture(scope="module", autouse=True)
def imported_once():
    """The trainers collect garbage at their end: let them not go through all that was imported."""
    import lightning
    import transformers

    del lightning, transformers
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(autouse=True)
def confined(monkeypatch, tmp_path):
    """No network, and what is written without a full path lands in tmp_path."""

    def refuse(self, address):
        raise AssertionError(f"a client wants to connect to {address}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.chdir(tmp_path)
    for variable in ("HOME", "HF_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(variable, str(tmp_path))


def _hugging_face(tmp_path, make, *, two_groups=False, resume=None):
    """Eight steps of a small GPT-2 with dropout: losses, norms of gradients, weights, folder."""
    import transformers

    # The trainer's random numbers are a part of its checkpoint: dropout goes on as it would have.
    transformers.set_seed(0)
    config = transformers.GPT2Config(
        vocab_size=17, n_positions=8, n_embd=8, n_layer=1, n_head=2, bos_token_id=0, eos_token_id=0
    )
    model = transformers.GPT2LMHeadModel(config)
    start = {name: value.detach().clone() for name, value in model.state_dict().items()}
    tokens = torch.randint(0, 17, (40, 8), generator=torch.Generator().manual_seed(1))
    seen = []

    class Watched(transformers.Trainer):
        def compute_loss(self, *args, **kwargs):
            loss = super().compute_loss(*args, **kwargs)
            seen.append(loss.detach().clone())
            return loss

        def _get_grad_norm(self, *args, **kwargs):
            norm = super()._get_grad_norm(*args, **kwargs)
            seen.append(torch.as_tensor(norm).clone())
            return norm

    folder = tmp_path / f"run-{len(list(tmp_path.iterdir()))}"
    cls, options = make
    given = {"optimizer_cls_and_kwargs": (cls, options)}
    if two_groups:
        groups = [
            {"params": [(n, p) for n, p in model.named_parameters() if p.ndim > 1]},
            {"params": [(n, p) for n, p in model.named_parameters() if p.ndim == 1], "lr": 3e-3},
        ]
        optimizer = cls(groups, **options)
        scheduler = transformers.get_cosine_schedule_with_warmup(optimizer, 2, STEPS)
        given = {"optimizers": (optimizer, scheduler)}
    trainer = Watched(
        model,
        transformers.TrainingArguments(
            str(folder),
            max_steps=STEPS,
            save_steps=HALF,
            per_device_train_batch_size=2,
            gradient_accumulation_steps=2,
            max_grad_norm=0.5,
            lr_scheduler_type="linear",
            warmup_steps=2,
            weight_decay=options.get("weight_decay", 0.0),
            use_cpu=True,
            report_to="none",
            disable_tqdm=True,
            logging_strategy="no",
        ),
        train_dataset=[{"input_ids": row, "labels": row} for row in tokens],
        **given,
    )
    trainer.train(resume_from_checkpoint=resume and str(resume / f"checkpoint-{HALF}"))
    assert isinstance(trainer.optimizer.optimizer, cls)
    assert_moved(start, model.state_dict())
    return seen, model.state_dict(), folder


def _saved(folder):
    """The optimizer's state as the trainer wrote it after the last step."""
    return torch.load(folder / f"checkpoint-{STEPS}" / "optimizer.pt", weights_only=True)


@pytest.mark.parametrize("two_groups", [False, True], ids=["class", "instance"])
@kinds
def test_hugging_face_trainer(tmp_path, kind, two_groups):
    """Clipping, accumulation, a schedule, a checkpoint at half way that either side resumes."""
    seen, weights, folder = _hugging_face(tmp_path, theirs(kind), two_groups=two_groups)
    assert len(seen) == 3 * STEPS
    mine, mine_weights, mine_folder = _hugging_face(tmp_path, ours(kind), two_groups=two_groups)
    assert_same(seen, mine, is_exact(kind))
    assert_same(weights, mine_weights, is_exact(kind))
    assert_same(_saved(folder), _saved(mine_folder), is_exact(kind))
    for start, make in ((folder, ours), (mine_folder, ours), (mine_folder, theirs)):
        end, end_weights, end_folder = _hugging_face(
            tmp_path, make(kind), two_groups=two_groups, resume=start
        )
        assert_same(seen[-len(end) :], end, is_exact(kind))
        assert len(end) == 3 * (STEPS - HALF)
        assert_same(weights, end_weights, is_exact(kind))
        assert_same(_saved(folder), _saved(end_folder), is_exact(kind))


def _lightning(tmp_path, make, *, resume=None):
    """Four epochs of five batches, automatic optimization: losses, weights, folder."""
    import lightning
    from lightning.pytorch.callbacks import ModelCheckpoint

    seen = []
    cls, options = make

    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.net = _network()

        def training_step(self, batch, index):
            loss = _loss(self.net, *batch)
            seen.append(loss.detach().clone())
            return loss

        def on_before_optimizer_step(self, optimizer):
            seen.append(torch.cat([p.grad.flatten() for p in self.parameters()]).clone())

        def configure_optimizers(self):
            optimizer = cls(self.net.named_parameters(), **options)
            # Cycles the first beta too.
            scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-2, total_steps=16)
            return [optimizer], [{"scheduler": scheduler, "interval": "step"}]

    module = Module()
    start = {name: value.detach().clone() for name, value in module.state_dict().items()}
    batches = torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(*_data(20)), batch_size=4, num_workers=0
    )
    folder = tmp_path / f"run-{len(list(tmp_path.iterdir()))}"
    with warnings.catch_warnings():
        for message, category in LIGHTNING_WARNS:
            warnings.filterwarnings("ignore", message, category, module="lightning.pytorch")
        lightning.Trainer(
            accelerator="cpu",
            devices=1,
            max_epochs=4,
            accumulate_grad_batches=2,
            gradient_clip_val=0.5,
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=folder,
            callbacks=[ModelCheckpoint(folder, filename="{epoch}", save_top_k=-1)],
        ).fit(module, batches, ckpt_path=resume and resume / "epoch=1.ckpt")
    assert_moved(start, module.state_dict())
    return seen, module.state_dict(), folder


def _optimizer_state(folder):
    return torch.load(folder / "epoch=3.ckpt", weights_only=False)["optimizer_states"]


@kinds
def test_lightning(tmp_path, kind):
    """Clipping, accumulation, a schedule of two hyperparameters, a checkpoint resumed."""
    seen, weights, folder = _lightning(tmp_path, theirs(kind))
    mine, mine_weights, mine_folder = _lightning(tmp_path, ours(kind))
    assert len(seen) == 20 + 12
    assert_same(seen, mine, is_exact(kind))
    assert_same(weights, mine_weights, is_exact(kind))
    assert_same(_optimizer_state(folder), _optimizer_state(mine_folder), is_exact(kind))
    for start, make in ((folder, ours), (mine_folder, ours), (mine_folder, theirs)):
        end, end_weights, end_folder = _lightning(tmp_path, make(kind), resume=start)
        assert len(end) == 10 + 6
        assert_same(seen[-len(end) :], end, is_exact(kind))
        assert_same(weights, end_weights, is_exact(kind))
        assert_same(_optimizer_state(folder), _optimizer_state(end_folder), is_exact(kind))


def _network():
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Linear(5, 7), torch.nn.Tanh(), torch.nn.BatchNorm1d(7), torch.nn.Linear(7, 2)
    )


def _data(rows):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(rows, 5, generator=generator), torch.randn(rows, 2, generator=generator)


def _loss(model, x, y):
    return 10 * torch.nn.functional.mse_loss(model(x), y)


def _both(run, kind):
    """Run under either class: all that `run` returns is equal."""
    results = []
    for cls, options in (theirs(kind), ours(kind)):
        network = _network()
        start = {name: value.detach().clone() for name, value in network.named_parameters()}
        results.append(run(network, lambda p, c=cls, o=options: c(p, **o)))
        assert_moved(start, results[-1][0])
    assert_same(*results, is_exact(kind))


@kinds
def test_a_compiled_model(kind):
    """The model is a graph, the optimizer stands outside."""

    def run(network, make):
        # Inductor's code for the model is not what is tested: the graphs alone will do.
        compiled = torch.compile(network, backend="aot_eager")
        optimizer, losses = make(compiled.parameters()), []
        for _ in range(STEPS):
            optimizer.zero_grad()
            losses.append(_loss(compiled, *_data(8)))
            losses[-1].backward()
            optimizer.step()
        return dict(network.named_parameters()), losses, optimizer.state_dict()

    _both(run, kind)
    torch.compiler.reset()


@kinds
def test_functional_training(kind):
    """Parameters live in a dictionary, gradients come from torch.func."""

    def run(network, make):
        x, y = _data(8)
        params = {n: p.detach().clone().requires_grad_() for n, p in network.named_parameters()}
        # torch.func allows no change of a buffer inside a gradient: the norms stand still.
        buffers = dict(network.eval().named_buffers())
        optimizer = make(params.items())

        def loss(params):
            output = torch.func.functional_call(network, (params, buffers), (x,))
            return torch.nn.functional.mse_loss(output, y)

        losses = []
        for _ in range(STEPS):
            gradients, value = torch.func.grad_and_value(loss)(params)
            for name, p in params.items():
                p.grad = gradients[name]
            optimizer.step()
            losses.append(value)
        return params, losses, optimizer.state_dict()

    _both(run, kind)


@kinds
@pytest.mark.parametrize("average", ["swa", "ema"])
def test_an_average_of_the_weights(kind, average):
    """Of torch.optim.swa_utils: AveragedModel, SWALR, update_bn."""
    from torch.optim import swa_utils

    def run(network, make):
        function = swa_utils.get_ema_multi_avg_fn(0.9) if average == "ema" else None
        mean = swa_utils.AveragedModel(network, multi_avg_fn=function, use_buffers=False)
        optimizer = make(network.parameters())
        scheduler = swa_utils.SWALR(optimizer, swa_lr=5e-3, anneal_epochs=3)
        for _ in range(STEPS):
            optimizer.zero_grad()
            _loss(network, *_data(8)).backward()
            optimizer.step()
            scheduler.step()
            mean.update_parameters(network)
        swa_utils.update_bn(_data(8)[0].split(4), mean)
        averaged = {k.removeprefix("module."): v for k, v in mean.named_parameters()}
        return averaged, dict(network.named_parameters()), dict(mean.named_buffers())

    _both(run, kind)
