"""The loss module in Lightning: its class embeddings are trained, moved and saved with the rest of the module."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as lightning
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import essnet

NUM_CLASSES = 12


class Segmentation(lightning.LightningModule):
    """What a user writes: of essnet it has the loss, the prediction and the metric."""

    def __init__(self) -> None:
        super().__init__()
        self.network = nn.Sequential(nn.Conv2d(3, 32, 1), nn.ReLU(), nn.Conv2d(32, 8, 1))
        self.criterion = essnet.EmbeddingLoss(
            num_classes=NUM_CLASSES, embedding_dim=8, objective="sampled_softmax", similarity="dot", num_random=4
        )
        self.counts = essnet.ConfusionCounts(NUM_CLASSES)

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
        images, targets = batch
        return self.criterion(self.network(images), targets)

    def validation_step(self, batch: tuple[Tensor, Tensor], _: int) -> None:
        images, targets = batch
        self.counts.update(self.criterion.predict(self.network(images), size=(8, 8)), targets)

    def on_validation_epoch_end(self) -> None:
        self.log("miou", self.counts.compute()["miou"])
        self.counts = essnet.ConfusionCounts(NUM_CLASSES)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=0.03)


def stripes() -> DataLoader[Any]:
    """Images whose rows have the colour of their class."""
    generator = torch.Generator().manual_seed(0)
    colours = torch.rand(NUM_CLASSES, 3, generator=generator)
    targets = torch.randint(NUM_CLASSES, (24, 8, 1), generator=generator).expand(24, 8, 8).contiguous()
    return DataLoader(TensorDataset(colours[targets].permute(0, 3, 1, 2), targets), batch_size=8)


# Lightning 2.6 asks torch 2.14 in a way that this will not know one day, and advises against one process.
@pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning", "ignore:.*does not have many workers.*")
def test_it_trains_and_goes_on_from_a_checkpoint(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module, data = Segmentation(), stripes()
    untrained = module.criterion.class_embeddings.detach().clone()
    trainer = lightning.Trainer(
        accelerator="cpu",
        max_epochs=60,
        check_val_every_n_epoch=60,
        default_root_dir=tmp_path,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, data, data)
    assert trainer.callback_metrics["miou"] > 0.9
    assert not torch.equal(module.criterion.class_embeddings, untrained)

    trainer.save_checkpoint(tmp_path / "module.ckpt")
    again = Segmentation.load_from_checkpoint(tmp_path / "module.ckpt", weights_only=True)
    images, _ = next(iter(data))
    assert torch.equal(
        again.criterion.predict(again.network(images), size=(8, 8)),
        module.criterion.predict(module.network(images), size=(8, 8)),
    )
