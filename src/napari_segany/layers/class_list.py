"""The classes that objects may have: their names, keys and colours."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from napari_segany.core.errors import InputError
from napari_segany.core.objects import ObjectClass, class_path
from napari_segany.layers.colours import PALETTE

KEYS = range(1, 10)
"""Digits that give a class; 0 takes it away."""


@dataclass(frozen=True, slots=True)
class ClassList:
    """Classes in the order in which they are offered, of two levels: ``"cell/dividing"`` is below ``"cell"``.

    Parameters
    ----------
    classes : tuple of ObjectClass
        Of different names; no two have the same key but 0.
    """

    classes: tuple[ObjectClass, ...] = ()

    def __iter__(self) -> Iterator[ObjectClass]:
        return iter(self.classes)

    def __len__(self) -> int:
        return len(self.classes)

    @property
    def names(self) -> tuple[str, ...]:
        """Of all classes."""
        return tuple(one.name for one in self.classes)

    @property
    def colours(self) -> dict[str, str]:
        """The colour of each class, by name."""
        return {one.name: one.colour for one in self.classes}

    def below(self, name: str) -> tuple[ObjectClass, ...]:
        """The classes below one; with an empty name those that have no parent."""
        return tuple(one for one in self.classes if one.parent == name)

    def family(self, name: str) -> tuple[str, ...]:
        """The names of a class and of those below it."""
        return name, *(one.name for one in self.below(name) if name)

    def of_key(self, key: int) -> ObjectClass | None:
        """The class that a digit gives; None for none."""
        return next((one for one in self.classes if key and one.key == key), None)

    def of_name(self, name: str) -> ObjectClass | None:
        """The class of a name; None for none."""
        return next((one for one in self.classes if one.name == name), None)

    def with_names(self, names: Iterable[str]) -> ClassList:
        """Return these and classes of other names, each with the next free key and colour."""
        return self.joined(ObjectClass(name, -1, "") for name in names)

    def joined(self, others: Iterable[ObjectClass]) -> ClassList:
        """Return these and others.

        A class of a known name takes over key and colour; a key of -1 is the next free one, and an empty colour is
        chosen. A parent that is missing is added without a key.
        """
        found = list(self.classes)
        for one in self._with_parents(others):
            known = next((place for place, own in enumerate(found) if own.name == one.name), None)
            rest = [own for place, own in enumerate(found) if place != known]
            taken = {own.key for own in rest}
            free = next((key for key in KEYS if key not in taken), 0)
            used = {own.colour for own in rest}
            colour = next((colour for colour in PALETTE if colour not in used), PALETTE[len(rest) % len(PALETTE)])
            before = found[known] if known is not None else ObjectClass(one.name, free, colour)
            made = replace(before, key=before.key if one.key < 0 else one.key, colour=one.colour or before.colour)
            if known is None:
                found.append(made)
            else:
                found[known] = made
            if made.key:
                # the key belongs to whoever got it last
                found = [replace(own, key=0) if own.key == made.key and own.name != made.name else own for own in found]
        return ClassList(tuple(found))

    def _with_parents(self, others: Iterable[ObjectClass]) -> Iterator[ObjectClass]:
        known = set(self.names)
        for one in others:
            if one.parent and one.parent not in known:
                known.add(one.parent)
                yield ObjectClass(one.parent, -1, "")
            known.add(one.name)
            yield one

    def new_names(self, name: str, new: str) -> dict[str, str]:
        """Return the new name of a class that is renamed, and those of the classes below it, by their names now.

        Raises
        ------
        InputError
            When the name is empty, another class has it, or there would be more than two levels.
        """
        levels = [part.strip() for part in new.split("/")]
        if not all(levels):
            raise InputError("a class needs a name")
        if len(levels) > 2 or (len(levels) == 2 and self.below(name) and name):
            raise InputError("classes have two levels: parent/name")
        new = "/".join(levels)
        if new != name and new in self.names:
            raise InputError(f"there is a class {new!r} already")
        below = {one.name: class_path(new, one.own_name) for one in self.below(name) if name}
        return {name: new} | below

    def renamed(self, name: str, new: str) -> ClassList:
        """Return these with another name for one, and for those below it; errors as of :meth:`new_names`."""
        names = self.new_names(name, new)
        made = ClassList(tuple(replace(one, name=names.get(one.name, one.name)) for one in self.classes))
        return made.joined(made.classes)

    def without(self, name: str) -> ClassList:
        """Return these without one."""
        return ClassList(tuple(one for one in self.classes if one.name != name))
