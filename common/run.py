"""One training run: what every train.py needs and none wants to show. Each duty is a module of its own beside it."""

import time
from functools import partial, reduce
from operator import getitem
from pathlib import Path

import torch

from common import acceleration, checkpoint, data, distribution, domains, images, models, options
from common.files import lock, writable_folder
from common.history import History, NotFinite, check_finite
from common.log import Progress, Signals, add_results, keep_talking, say, write_record
from common.previous import put_aside

READ_EVERY = 20  # updates between two looks at the losses
SAVE_EVERY = 60  # seconds between two checkpoints


class Run:
    """A training run of the model in the folder of `file`, with the command-line options of the dataclass `Options`.

    Ends the process with status 2 and one line on stderr where something that the user gave cannot be used.
    Where the options have a `variant` (a field or a property), files lie in subfolders of that name; where they have a
    `pair`, data are a `common.domains.Pair`, batches (x_a, label_a, x_b, label_b). args: default: the process's words.

    Attributes:
        options: the instance of `Options`, with dataset, device and precision resolved.
        train: the training images, a `common.data.Dataset` on the device.
        image: {"channels": C, "image_size": S}, as `build` functions take them; of a pair, channels_a and channels_b.
    """

    def __init__(self, Options, file, args=None):
        self.folder = Path(file).resolve().parent
        program = f"{self.folder.name}/{Path(file).name}"
        options.refuse_everywhere(program)
        keep_talking()
        self._refusing = partial(options.refusing, program)
        with self._refusing():
            self._read_options(Options, args)
            self._read_data()
            self._samples = writable_folder(self._out / "samples" / self._variant, "--out-dir")
            if not self.options.resume:
                self._lock = lock(writable_folder(self._checkpoint.parent, "--out-dir"), "--out-dir")
        self._networks, self._fields, self._optimizers, self._tensors, self._schedules = {}, {}, [], {}, []
        self._draw, self._history = None, History()
        self._restore(self._history.load)
        checkpoint.seed_everything(self.options.seed)  # for the weights; `batches` seeds what follows

    def _read_options(self, Options, args):
        opt, ranks = options.parse(Options, args), options.launched()[1]
        self._out, self._variant = opt.out_dir or self.folder, getattr(opt, "variant", "")
        self._checkpoint = self._out / "checkpoints" / self._variant / "checkpoint.pt"
        if opt.resume and self._checkpoint.exists():  # before it is read: another run may be about to replace it
            self._lock = lock(self._checkpoint.parent, "--out-dir")
        self._saved = checkpoint.load(self._checkpoint, self.folder.name, ranks) if opt.resume else None
        if self._saved:
            opt = options.parse_resumed(Options, self._saved["options"], args)
        device = acceleration.find_device(opt.device)
        opt.device, opt.precision = device.type, acceleration.find_precision(opt.precision, device)
        acceleration.set_precision(opt.precision)
        self.options, self._device = opt, distribution.start(device)

    def _read_data(self):
        opt, saved = self.options, self._saved or {}
        load = partial(domains.load, opt.pair, opt.paired) if hasattr(opt, "pair") else data.load
        self._source = data.Source(opt, self._device, saved.get("data"), load)
        self._notice, self.train = saved.get("notice", self._source.notice), self._source.train
        self.image = self.train.image
        self._title = (f"{self.folder.name} {self._variant}".strip() + f" on {opt.dataset}, seed {opt.seed}"
                       + (" (NOT MNIST)" if self._notice else ""))
        if self._notice:
            say(f"\n{'!' * 80}\n{self._notice}\n{'!' * 80}\n")

    @property
    def test(self):
        """The test images, a `common.data.Dataset` on the device, or with --holdout the held-out training images."""
        with self._refusing():
            return self._source.test

    def _restore(self, put, *keys):
        """Where the run is resumed: put(what the checkpoint has under these keys)."""
        if self._saved:
            with self._refusing():
                try:
                    put(reduce(getitem, keys, self._saved))
                except Exception as error:  # any, from a damaged file
                    raise options.InputError(f"{self._checkpoint} does not fit this model ({error})"[:300]) from None

    def networks(self, build, **fields):
        """The dict of networks that build(**fields) returns, on the device, the same on every rank. The checkpoint
        keeps the fields (numbers and strings), to build them again. A ValueError of build is told in one line."""
        with self._refusing(ValueError):
            nets = build(**fields)
            models.check_batch(nets, self.options.batch_size // distribution.ranks())
        for name, net in nets.items():
            acceleration.place(net, self._device)
            self._restore(net.load_state_dict, "networks", name)
            distribution.broadcast_(net.state_dict().values())
        self._networks, self._fields = self._networks | nets, self._fields | fields
        return nets

    def optimizer(self, kind, *networks, **settings):
        """A torch.optim optimizer of class `kind` over the parameters of one or more networks, each parameter once."""
        parameters = list(dict.fromkeys(p for net in networks for p in net.parameters()))
        optimizer = kind(parameters, **acceleration.optimizer_settings(kind, self._device), **settings)
        self._restore(partial(checkpoint.load_optimizer, optimizer), "optimizers", len(self._optimizers))
        self._optimizers.append(optimizer)
        return optimizer

    def tensor(self, name, value):
        """A float32 tensor that updates change in place and the checkpoint keeps, for instance BEGAN's k_t."""
        tensor = torch.as_tensor(value, dtype=torch.float32, device=self._device).clone()
        self._restore(tensor.copy_, "tensors", name)
        self._tensors[name] = tensor
        return tensor

    def schedule(self, function):
        """A 0-d float32 tensor that is function(share) in each update, share in [0, 1) of the run's updates being done:
        for learning rates and whatever else changes over a run, in the same way however long it is."""
        tensor = torch.tensor(float(function(0.0)), device=self._device)
        self._schedules.append((tensor, function))
        return tensor

    def noise(self, n, dim):
        """Fixed z ~ N(0, I), float32 (n, dim), a function of the seed alone: latents whose images `show` follows."""
        return torch.randn(n, dim, generator=torch.Generator().manual_seed(self.options.seed)).to(self._device)

    def step(self, update):
        """Decorator of an update: its tensors in, a dict of losses out, run in the fastest form that the device has.
        It has fixed shapes, no Python branch on a tensor's value, and its state in networks, optimizers, `tensor`s."""
        graph = not self.options.eager and distribution.ranks() == 1
        return acceleration.accelerate(update, self._device, self.options.precision, (
            lambda: (self._networks.values(), self._optimizers, self._tensors.values())) if graph else None)

    def batches(self, n=None, also=None):
        """Yields (x, label), epoch after epoch: x float32 (batch, C, H, W) in [0, 1], label int64 (batch,); with n the
        n batches of one update, (n, batch, C, H, W) and (n, batch); with `also`, a `common.data.Dataset`, its x and
        label besides. In between it reads losses and saves checkpoints; at the end come curves, GIF, run.json."""
        with self._refusing():
            self._begin(n, also)
        with self._refusing(), Signals() as stop:
            while self._history.step < self._last and not stop:
                for tensor, function in self._schedules:
                    tensor.fill_(function(self._history.step / self._whole))
                batch = self._batches[self._history.step]
                self._history.step += 1
                yield batch
                self._between(stop)
            self._finish(stop)

    def log(self, losses):
        """Keeps the losses of one update, {name: 0-d tensor}, without waiting for their values."""
        with self._refusing():
            self._history.losses.append(losses)
        self._progress.advance()

    def show(self, draw):
        """Saves the images that draw() returns, (N, C, H, W) in [0, 1], as a grid, where one is due: after each epoch
        and a few times within the first. Due by the count of updates, so that a resumed run draws the same."""
        self._draw = draw
        name = images.frame_name(self._history.step, self._batches.per_epoch)
        if name:
            self._history.frames.append(f"{name}.png")
            if distribution.rank() == 0:
                self.save(name, draw())

    def curve(self, name, measure):
        """At each epoch's end measures {label: number}, for the line of the epoch and the plot <name>.png."""
        if self._epoch_ends:
            values = self._history.measured(name, self._history.step // self._batches.per_epoch, measure())
            self._progress.scalars({f"{name}/{label}": value for label, value in values.items()})

    def save(self, name, picture):
        """Writes samples/<name>.png: images (N, C, H, W) in [0, 1] as a grid, or a matplotlib figure."""
        if distribution.rank() == 0:
            images.save(self._samples / f"{name}.png", picture)

    def record(self, measured):
        """Adds {name: number}, measured after the last update, to run.json, as `results`."""
        if distribution.rank() == 0:
            add_results(self._samples / "run.json", {name: float(value) for name, value in measured.items()})

    @property
    def _epoch_ends(self):
        return self._history.step % self._batches.per_epoch == 0

    def _begin(self, n, also):
        opt, rank = self.options, distribution.rank()
        self._batches = data.Batches(*self.train.tensors, *(also.tensors if also else ()), n=n, rank=rank,
                                     batch_size=opt.batch_size, seed=opt.seed, ranks=distribution.ranks())
        self._whole = opt.epochs * self._batches.per_epoch  # updates of the run, which --max-steps may cut
        if self._saved and self._schedules:
            options.check_length(opt, self._saved["options"])
        self._last = min(opt.max_steps or self._whole, self._whole)
        checkpoint.seed_everything(opt.seed * 1000 + 1 + rank)
        self._restore(partial(checkpoint.set_random_state, device=self._device), "random", rank)
        if rank == 0 and not self._saved:
            put_aside(self._out, self._variant, type(opt))
        for name, part in zip(("real", "real_b"), self.train.sets, strict=False):
            self.save(name, next(iter(part.batches(100)))[0])
        self._progress = Progress(self._out / "logs" / self._variant, self._batches, self._history.step, self._last)
        self._progress.begin(self._title, " and ".join(f"{len(part):,}" for part in self.train.sets), opt)
        self._history.began = time.monotonic() - self._history.seconds
        if not self._saved:
            self._save_checkpoint()
        self._agreement = distribution.Agreement(self._history.step)
        self._saved_at, self._saved_step, self._saved = time.monotonic(), self._history.step, None  # frees memory

    def _between(self, stop):
        ends, step, due = self._epoch_ends, self._history.step, time.monotonic() - self._saved_at > SAVE_EVERY
        due, stop.agreed = self._agreement.reach(step, ends, due, stop.received)
        if ends or due or stop or step % READ_EVERY == 0:
            self._read_losses()
        if ends:
            self._progress.epoch_ends(self._history.latest())
        if (ends or due or stop) and step < self._last:
            self._save_checkpoint()

    def _read_losses(self):
        try:
            self._progress.losses(self._history.losses.names, self._history.losses.read())
            check_finite(self._networks)
        except NotFinite as error:
            self._progress.close()
            say(f"{self.folder.name}: stopped: {error}; the checkpoint of update {self._saved_step} is kept")
            raise SystemExit(1) from None

    def _save_checkpoint(self):
        states = distribution.gather(checkpoint.random_state(self._device))
        if distribution.rank() == 0:
            checkpoint.save(self._checkpoint, {
                "model": self.folder.name, "fields": self._fields, "tensors": self._tensors, "random": states,
                "networks": {name: net.state_dict() for name, net in self._networks.items()},
                "optimizers": [optimizer.state_dict() for optimizer in self._optimizers],
                "options": options.to_plain(self.options), "data": self._source.fingerprint, "notice": self._notice,
                **self._history.state()})
        self._saved_at, self._saved_step = time.monotonic(), self._history.step

    def _finish(self, stop):
        self._read_losses()
        if self._draw and not self._epoch_ends:  # not a frame of the GIF: where a run was cut must not show in it
            self.save(f"epoch_{self._history.step // self._batches.per_epoch + 1:04d}", self._draw())
        if self._saved_step != self._history.step:  # after the picture, which a resumed run would no longer draw
            self._save_checkpoint()
        if distribution.rank() == 0:
            images.save_run(self._samples, self._history, self._title)
            write_record(self._samples / "run.json", self.folder.name, self.options, self._history, self._last,
                         self._batches.per_epoch, self._notice)
        self._progress.end(self._samples, stop.agreed)
