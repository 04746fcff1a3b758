"""Chooses what was chosen last time, and remembers what is chosen now."""

from __future__ import annotations

from functools import partial

from qtpy.QtCore import QObject

from napari_segany.core.errors import ModelError
from napari_segany.engine.prediction import MODEL
from napari_segany.models.registry import find
from napari_segany.widgets.controllers.prediction_controller import PredictionController
from napari_segany.widgets.panels.automatic_masks_panel import AutomaticMasksPanel
from napari_segany.widgets.panels.columns_chooser import columns_of
from napari_segany.widgets.panels.export_panel import ExportPanel
from napari_segany.widgets.panels.first_steps import FirstSteps
from napari_segany.widgets.panels.model_panel import ModelPanel
from napari_segany.widgets.panels.prompt_panel import PromptPanel
from napari_segany.widgets.settings import Settings


class SettingsController(QObject):
    """Between the settings and the panels that show them.

    Parameters
    ----------
    settings : Settings
        Gives and keeps the values.
    prompts, exports, automatic_masks, models : QWidget
        The panels; that of models owns this object.
    answering : PredictionController
        Loads the model.
    """

    def __init__(
        self,
        settings: Settings,
        prompts: PromptPanel,
        exports: ExportPanel,
        automatic_masks: AutomaticMasksPanel,
        models: ModelPanel,
        answering: PredictionController,
    ) -> None:
        super().__init__(models)
        self._settings, self._prompts, self._exports = settings, prompts, exports
        self._automatic_masks, self._models, self._answering = automatic_masks, models, answering
        answering.loaded.connect(self._use)

    def restore(self) -> None:
        """Choose what was chosen last time, and remember from here on; a model only if it is on this computer."""
        get, keep = self._settings.get, self._settings.set
        self._prompts.choose(hover=get("hint"), rank=get("rank"), overwrite=get("overwrite"), names=get("names"))
        self._exports.choose(get("export"), get("export_objects"))
        self._exports.columns = columns_of(get("columns"))
        self._prompts.hover_changed.connect(partial(keep, "hint"))
        self._prompts.rank_changed.connect(partial(keep, "rank"))
        self._prompts.overwrite_changed.connect(partial(keep, "overwrite"))
        self._prompts.names_changed.connect(partial(keep, "names"))
        self._exports.chosen.connect(partial(keep, "export"))
        self._exports.selection_chosen.connect(partial(keep, "export_objects"))
        self._automatic_masks.choose(at_once=get("confident"), crop_layers=get("crop_layers"), clicks=get("clicks"))
        self._automatic_masks.crop_layers_changed.connect(partial(keep, "crop_layers"))
        self._automatic_masks.clicks_changed.connect(partial(keep, "clicks"))
        self._automatic_masks.at_once_changed.connect(partial(keep, "confident"))
        self._automatic_masks.remember(get("terms").splitlines())
        self._automatic_masks.named.connect(self._remember_terms)
        self._use_last(get("model"))

    def remember_first_steps(self, steps: FirstSteps) -> None:
        """Show the first steps until they were done once."""
        steps.setVisible(self._settings.get("first_steps"))
        steps.ended.connect(partial(self._settings.set, "first_steps", False))

    def _use_last(self, name: str) -> None:
        """Load the model of the last time; one that was moved or removed since is left."""
        try:
            spec = find(name)
        except ModelError:
            return
        if spec.name == name != MODEL and spec.installed:
            self._models.use(name)
            self._answering.load(spec)

    def _remember_terms(self) -> None:
        self._settings.set("terms", "\n".join(self._automatic_masks.terms))

    def _use(self, name: str) -> None:
        self._models.use(name)
        self._settings.set("model", name)
