"""A source whose first test examples are left alone, because they were looked at before."""

from dataclasses import dataclass, replace
from typing import TypeVar

from holdfast.data.fileset import FileSet
from holdfast.data.imageset import ImageSet
from holdfast.data.source import Source
from holdfast.data.streaming import undecoded
from holdfast.errors import InvalidInput

Examples = TypeVar("Examples", ImageSet, FileSet)


@dataclass(frozen=True)
class Later:
    """Another source with a test split that begins later; training examples are the same.

    Numbers that were changed after a look at the first `first` test examples may still be judged fairly on the rest.

    Args:
        source: where the examples come from.
        first: position of the first test example that remains.

    Raises:
        InvalidInput: `first` is negative; or, at loading, the test split ends before it.
    """

    source: Source
    first: int

    def __post_init__(self) -> None:
        if self.first < 0:
            raise InvalidInput(f"first is {self.first}, but examples are counted from 0; give 0 or more")

    @property
    def name(self) -> str:
        """Of the data set: that of the source."""
        return self.source.name

    def load(self, split: str) -> ImageSet:
        """Read the split "train" or "test"; the name of what remains of the latter says where it begins."""
        return self._rest(split, self.source.load(split))

    def files(self, split: str) -> FileSet | None:
        """The same, undecoded, where the source has files."""
        found = undecoded(self.source, split)
        return None if found is None else self._rest(split, found)

    def _rest(self, split: str, found: Examples) -> Examples:
        if split != "test":
            return found
        if self.first >= len(found):
            raise InvalidInput(
                f"first is {self.first}, but {found.name} has {len(found)} examples; give 0 to {len(found) - 1}"
            )
        return replace(found.subset(range(self.first, len(found))), name=f"{self.name} from {self.first}/test")
