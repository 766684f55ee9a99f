"""Imported before everything else here: without torch, say how to get it."""

from functional_adam._extras import require

require("torch", "torch")
