"""Images in files, of which nothing is read before they are: each is decoded whenever it is asked for."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from deploy_prune.errors import DataError
from deploy_prune.sources.broken_images import BrokenImages
from deploy_prune.sources.colours import Modes
from deploy_prune.sources.decoding import NO_BYTES, Broken, Decoded, Framing, decode_in_order
from deploy_prune.sources.images import Blob
from deploy_prune.values import BrokenImage

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Learnt:
    """What is learnt of the images of a data set while they are read; its splits share it."""

    broken: BrokenImages
    modes: Modes


class EncodedImages:
    """One split of images in files. Not a value: it learns which images are broken.

    A broken image is named when it is met, and another stands in for it: the next whole image of its class in the
    split, with the last one before the first; where its class has none, the next of the split, with its own label (see
    `find_stand_ins`). It is always the same one, in every epoch and every process.
    """

    def __init__(self, blobs: Sequence[Blob], labels: np.ndarray | None, framing: Framing, learnt: Learnt) -> None:
        """Keep where the images are; `labels` are int64 (images,), None where there are none."""
        self.blobs = blobs
        self.labels = labels
        self.framing = framing
        self._learnt = learnt
        self._stand_ins: dict[int, int] = {}
        self._reasons, self._written = self._list_known(), 0

    def __len__(self) -> int:
        """How many images there are, the broken ones among them."""
        return len(self.blobs)

    def read(self, indices: np.ndarray) -> np.ndarray:
        """uint8 images, shape (len(indices), height, width, 3).

        Raises:
            DataError: an image is broken, and so is every other of this split.
        """
        out, given = np.empty((len(indices), *self.framing.size, 3), np.uint8), self.find_stand_ins(indices)
        for place, image in enumerate(self._decode(given)):
            if isinstance(image, Decoded):
                out[place] = image.pixels
            else:
                out[place] = self._replace(int(indices[place]), {int(given[place]): image.why})
        return out

    def find_stand_ins(self, indices: np.ndarray) -> np.ndarray:
        """Give the numbers of the images that `read` gives for these: their own, or those that stand in for them.

        Ask after reading: what is broken is known only then.
        """
        return np.asarray([self._stand_ins.get(int(index), int(index)) for index in indices], np.int64)

    def list_broken(self) -> tuple[BrokenImage, ...]:
        """List the images of this split that were found broken so far, by this process or by others."""
        written = self._learnt.broken.learn_from_others()
        if written != self._written:
            self._written, self._reasons = written, self._reasons | self._list_known()
        return tuple(BrokenImage(self.blobs[each].name, why, each) for each, why in sorted(self._reasons.items()))

    def _list_known(self) -> dict[int, str]:
        """The numbers of all images that are known to be broken, and why."""
        return {number: why for number, blob in enumerate(self.blobs) if (why := self._find_reason(blob)) is not None}

    def _find_reason(self, blob: Blob) -> str | None:
        """Say why an image is not used, where that is known without opening it."""
        return self._learnt.broken.find_reason(blob) if blob.length else NO_BYTES

    def _decode(self, numbers: np.ndarray) -> Iterator[Decoded | Broken]:
        """Decode several images, those that are known to be broken in no time."""
        reasons = [self._find_reason(self.blobs[number]) for number in numbers]
        wanted = [self.blobs[number] for number, why in zip(numbers, reasons, strict=True) if why is None]
        images = zip(wanted, decode_in_order(wanted, self.framing), strict=True)
        for why in reasons:
            if why is not None:
                yield Broken(why)
                continue
            blob, image = next(images)
            if isinstance(image, Decoded):
                self._learnt.modes.meet(image.mode, blob.name)
            yield image

    def _replace(self, index: int, met: dict[int, str]) -> np.ndarray:
        """The pixels of the image that stands in for a broken one; `met` are images that are no use for it, and why."""
        self._stand_ins.pop(index, None)
        for candidate in (index, *self._list_others(index)):
            if candidate in met:
                continue
            image = next(self._decode(np.asarray([candidate])))
            if isinstance(image, Decoded):
                if candidate != index:
                    self._stand_ins[index] = candidate
                self._remember(met, candidate)
                return image.pixels
            met[candidate] = image.why
        self._remember(met, None)
        name, why = self.blobs[index].name, self._reasons[index]
        hint = (
            f"bring images of this split back whole below {self.blobs[index].path.parent}; a run goes on where it was"
        )
        raise DataError(f"{name} {why}, and no other image of this split can be used either", hint=hint)

    def _list_others(self, index: int) -> Iterator[int]:
        """The other images of the split in the order in which they would stand in: first those of its class."""
        everything = np.arange(len(self.blobs))
        peers = everything if self.labels is None else np.flatnonzero(self.labels == self.labels[index])
        for numbers in (peers, everything):
            place = int(np.searchsorted(numbers, index))
            yield from map(int, (*numbers[place + 1 :], *numbers[:place]))

    def _remember(self, met: Mapping[int, str], stand_in: int | None) -> None:
        """Name the images that nobody knew to be broken, once."""
        new = {number: why for number, why in met.items() if number not in self._reasons}
        self._reasons |= met
        unknown = {}
        for number, why in new.items():
            blob = self.blobs[number]
            if self._find_reason(blob) is None:
                unknown[blob] = why
            instead = "" if stand_in is None else f": {self.blobs[stand_in].name} stands in for it"
            logger.warning("%s %s%s", blob.name, why, instead)
        if unknown:
            self._learnt.broken.remember(unknown)
