"""The labels of an image of a project as they were corrected in the window."""

from __future__ import annotations

from pathlib import Path

from napari_segany.engine.autosave import saved_sessions
from napari_segany.engine.session_files import project_folder, session_files
from napari_segany.io.images import read_image, reading
from napari_segany.session.fingerprint import fingerprint_of, sample_fingerprint
from napari_segany.session.recovery import Recovered, recover


def session_of(image: Path) -> Recovered | None:
    """Return the latest session of an image of a project that has objects; None where there is none.

    A session that a window has open counts as far as it is written. Sessions are found by the values of the image, so
    that a session of another picture under the same name does not count.

    Parameters
    ----------
    image : Path
        The file.

    Raises
    ------
    InputError
        When the image or the session cannot be read.
    """
    if project_folder(image) is None:
        return None
    # napari may have shown the numbers as they are stored, where here they stand for colours
    for raw in (False, True):
        array = read_image(image, raw=raw).array
        with reading(image):
            # (all values are read only where there are sessions of the sample)
            if not session_files(sample_fingerprint(array), str(image)):
                continue
            content = fingerprint_of(array)
        sessions = saved_sessions(content, being_written=True, path=str(image))
        latest = next((one for one in sessions if one.objects), None)
        if latest is not None:
            return recover(latest.path, partial=True)
    return None
