"""Tensors whose content waits on the host: they stay the objects they are, but have no memory on their device."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch

#: Bytes of one piece of host memory. torch rounds pinned memory up to a power of two: of pieces this large nothing is
#: lost but the end of the last.
PIECE = 64 << 20


class ParkedTensors:
    """Takes the memory of tensors away, until `restore`. Tensors that share memory share it again."""

    def __init__(self, tensors: Iterable[torch.Tensor]) -> None:
        """Copy all to the host, then free them.

        Raises:
            RuntimeError: the host has no memory for them; they keep what they have.
        """
        stored = {t.untyped_storage().data_ptr(): t.untyped_storage() for t in tensors if t.numel()}
        self._storages = [(storage, storage.nbytes()) for storage in stored.values()]
        self._pieces: list[torch.Tensor] = []
        for at, part in self._walk():
            if at == len(self._pieces) * PIECE:
                self._pieces.append(torch.empty(PIECE, dtype=torch.uint8, pin_memory=part.is_cuda))
            self._host(at, part).copy_(part)
        self._free()

    @property
    def nbytes(self) -> int:
        """What was taken from the device."""
        return sum(nbytes for _, nbytes in self._storages)

    def restore(self) -> None:
        """Give all their memory and their content back.

        Raises:
            torch.OutOfMemoryError: the device has not enough; nothing is held there then.
        """
        try:
            for storage, nbytes in self._storages:
                storage.resize_(nbytes)
        except RuntimeError:
            self._free()
            raise
        for at, part in self._walk():
            part.copy_(self._host(at, part))

    def _free(self) -> None:
        for storage, _ in self._storages:
            storage.resize_(0)

    def _host(self, at: int, part: torch.Tensor) -> torch.Tensor:
        return self._pieces[at // PIECE][at % PIECE :][: len(part)]

    def _walk(self) -> Iterator[tuple[int, torch.Tensor]]:
        """All bytes, part by part, each within one piece: (place among all, (n,) uint8)."""
        at = 0
        for storage, nbytes in self._storages:
            content = torch.empty(0, dtype=torch.uint8, device=storage.device).set_(storage)  # type: ignore[arg-type]
            start = 0
            while start < nbytes:
                length = min(nbytes - start, PIECE - at % PIECE)
                yield at, content[start : start + length]
                start, at = start + length, at + length
