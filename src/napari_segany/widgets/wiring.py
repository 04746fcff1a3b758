"""Which signal of the widget's parts goes where.

Signals of Qt are connected to methods only: a function that holds the widget would keep it for ever.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari.utils.notifications import show_warning

if TYPE_CHECKING:
    from napari_segany.widgets.main import SeganyWidget


def connect_parts(widget: SeganyWidget) -> None:
    """Connect panels, controllers and the worker of a widget with each other."""
    _connect_status(widget)
    _connect_models(widget)
    _connect_images(widget)
    _connect_objects(widget)


def _connect_status(widget: SeganyWidget) -> None:
    """What is going on, is shown in the status line."""
    status = widget.status_box
    workers = (widget.answering, widget.finder, widget.follower, widget.images, widget.resuming)
    makers = (widget.edges, widget.refining, widget.cleaning, widget.classes, widget.suggesting)
    for worker in (*workers, *makers):
        worker.message.connect(status.say)
        worker.failed.connect(widget.show_failure)
    widget.large.failed.connect(widget.show_failure)
    for work in (widget.finder, widget.edges, widget.follower, widget.refining, widget.export_box, widget.suggesting):
        work.progress.connect(status.set_share)
    for careful in (widget.committing, widget.regions):
        careful.warned.connect(status.warn)
    widget.regions.message.connect(status.say)
    widget.jobs.busy.connect(status.set_busy)
    widget.autosaving.problem.connect(show_warning)
    widget.autosaving.caught_up.connect(status.say)
    status.cancelled.connect(widget.cancel)


def _connect_models(widget: SeganyWidget) -> None:
    widget.model_box.chosen.connect(widget.answering.load)
    widget.model_box.failed.connect(widget.show_failure)
    widget.answering.ready.connect(widget.pending.show_state)
    widget.answering.expected.connect(widget.status_box.expect)
    widget.answering.arrived.connect(widget.status_box.set_progress)
    widget.answering.refused.connect(widget.model_box.revert)
    widget.answering.loaded.connect(widget.learning.use_model)
    widget.answering.loaded.connect(widget.finder.use_model)
    widget.learning.chosen.connect(widget.answering.load)
    widget.learning.failed.connect(widget.show_failure)
    widget.effort.failed.connect(widget.show_failure)
    widget.folder.failed.connect(widget.show_failure)
    widget.project.failed.connect(widget.show_failure)
    widget.answering.rested.connect(widget.project.encode_next)
    widget.project.opened.connect(widget.focus_canvas)
    widget.project.next_wanted.connect(widget.answering.encode_ahead)
    widget.batch.failed.connect(widget.show_failure)
    widget.project.message.connect(widget.pending.say_done)
    widget.reviewing.message.connect(widget.pending.say_done)
    widget.reviewing.failed.connect(widget.show_failure)
    widget.resuming.fresh.connect(widget.project.open_labels)
    widget.folder.learned.connect(widget.learning.list_models)
    widget.learn_box.shown.connect(widget.learning.count)
    widget.learn_box.shown.connect(widget.learning.list_models)
    widget.answering.accepted.connect(widget.ranking.rank)
    widget.prompt_box.rank_changed.connect(widget.ranking.set_enabled)
    widget.prompt_box.hover_changed.connect(widget.hover.set_enabled)
    widget.session.requested.connect(widget.hover.stop)


def _connect_images(widget: SeganyWidget) -> None:
    """Choosing another image, and how it is read."""
    images = widget.images
    widget.layer_box.image.changed.connect(images.open)
    widget.layers.message.connect(widget.pending.say_done)
    images.opened.connect(widget.answering.prepare)
    images.opened.connect(widget.resuming.look_up)
    images.opened.connect(widget.first_steps.opened)
    widget.layer_box.sessions_wanted.connect(widget.resuming.list_earlier)
    widget.layer_box.channels_wanted.connect(widget.layers.use_channels)
    images.leaving.connect(widget.jobs.cancel_all)
    images.left.connect(widget.answers.forget)
    widget.picture_box.changed.connect(widget.hover.stop)
    widget.picture_box.changed.connect(images.change_settings)
    widget.prompt_box.overwrite_changed.connect(images.set_overwrite)
    widget.prompt_box.several_changed.connect(widget.finder.forget)
    widget.prompt_box.several_changed.connect(images.set_several)


def _connect_objects(widget: SeganyWidget) -> None:
    """Keeping, finding, tracking and exporting objects."""
    committing, objects = widget.committing, widget.objects_box
    for box in (widget.prompt_box, widget.everything_box):
        box.kept.connect(widget.keep)
    widget.everything_box.acted.connect(widget.act)
    widget.prompt_box.discarded.connect(widget.discard)
    widget.exemplars.message.connect(widget.status_box.say)
    widget.exemplars.failed.connect(widget.show_failure)
    widget.candidate_box.chosen.connect(widget.session.choose)
    committing.editing.connect(widget.hover.stop)
    committing.layers_changed.connect(widget.layers.show)
    widget.follower.found.connect(committing.note_found)
    widget.follower.remarked.connect(objects.remark)
    widget.stack_box.tracked.connect(widget.show_tracks)
    widget.refine_box.wanted.connect(widget.refine)
    widget.refining.shown.connect(widget.focus_canvas)
    widget.classes.chosen.connect(committing.set_class)
    widget.answering.accepted.connect(widget.first_steps.clicked)
    committing.noted.connect(widget.first_steps.kept)
    committing.noted.connect(widget.suggesting.name_objects)
    widget.prompt_box.names_changed.connect(widget.suggesting.set_naming)
    objects.described.connect(widget.session.record)
    objects.plot_wanted.connect(widget.measurements.open)
    widget.export_box.written.connect(widget.resuming.exported)
