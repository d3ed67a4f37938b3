"""Images in files, of which nothing is read before they are: each is decoded whenever it is asked for."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

import numpy as np

from deploy_prune.errors import DataError
from deploy_prune.sources.broken_images import BrokenImages
from deploy_prune.sources.images import Blob, Framing, decode, decode_in_order

logger = logging.getLogger(__name__)


class EncodedImages:
    """One split of images in files. Not a value: it learns which images are broken.

    A broken image is named when it is met, and the next whole image of its class in the split stands in for it, with
    the last one before the first: always the same one, in every epoch and every process.
    """

    def __init__(
        self, blobs: Sequence[Blob], labels: np.ndarray | None, framing: Framing, broken: BrokenImages
    ) -> None:
        """Keep where the images are; `labels` are int64 (images,), None where there are none."""
        self.blobs = blobs
        self.labels = labels
        self.framing = framing
        self._broken = broken
        self._stand_ins: dict[int, int] = {}

    def __len__(self) -> int:
        """How many images there are, the broken ones among them."""
        return len(self.blobs)

    def read(self, indices: np.ndarray) -> np.ndarray:
        """uint8 images, shape (len(indices), height, width, 3).

        Raises:
            DataError: an image is broken, and so is every other of its class in this split.
        """
        chosen = [self._stand_ins.get(int(index), int(index)) for index in indices]
        out = np.empty((len(chosen), *self.framing.size, 3), np.uint8)
        images = decode_in_order([self.blobs[index] for index in chosen], self._decode)
        for place, (index, image) in enumerate(zip(chosen, images, strict=True)):
            out[place] = self._find_stand_in(index) if image is None else image
        return out

    def _decode(self, blob: Blob) -> np.ndarray | None:
        """uint8 (height, width, 3); None for an image that is broken."""
        return None if self._broken.knows(blob) else decode(blob, self.framing.apply)

    def _find_stand_in(self, index: int) -> np.ndarray:
        """The pixels of the image that stands in for a broken one."""
        if index in self._stand_ins:  # it comes twice in one batch
            image = self._decode(self.blobs[self._stand_ins[index]])
            if image is not None:
                return image
        met = [self.blobs[index]]
        for candidate in self._list_others(index):
            image = self._decode(self.blobs[candidate])
            if image is not None:
                self._remember(met, self.blobs[candidate])
                self._stand_ins[index] = candidate
                return image
            met.append(self.blobs[candidate])
        self._remember(met, None)
        which = "" if self.labels is None else " of its class"
        message = f"{self.blobs[index].name} cannot be decoded, nor can any other image{which} in this split"
        raise DataError(message, hint=f"remove them from {self.blobs[index].path.parent}, or bring them back whole")

    def _list_others(self, index: int) -> Iterator[int]:
        """The other images of its class in the order in which they would stand in."""
        peers = np.arange(len(self.blobs))
        if self.labels is not None:
            peers = np.flatnonzero(self.labels == self.labels[index])
        place = int(np.searchsorted(peers, index))
        yield from map(int, (*peers[place + 1 :], *peers[:place]))

    def _remember(self, met: Sequence[Blob], stand_in: Blob | None) -> None:
        """Name the images that nobody knew to be broken, once."""
        new = [blob for blob in met if not self._broken.knows(blob)]
        for blob in new:
            instead = f": {stand_in.name} stands in for it" if stand_in else ""
            logger.warning("%s cannot be decoded%s", blob.name, instead)
        if new:
            self._broken.remember(new)
