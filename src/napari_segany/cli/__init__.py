"""``napari-segany …``: reads the command line, calls one function, reports its result.

Heavy modules are imported by the command that needs them, so that ``--help`` and errors appear at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from napari_segany.cli.bench import bench
from napari_segany.cli.classifying import classify
from napari_segany.cli.dataset import dataset
from napari_segany.cli.measuring import effort, measure
from napari_segany.cli.models import models
from napari_segany.cli.refining import refine
from napari_segany.cli.rounds import engine
from napari_segany.cli.segmenting import segment
from napari_segany.cli.shared import ModelOption, ShownProgress, new_app, show_download
from napari_segany.cli.system import Ended, ended_by_signals, writable_names
from napari_segany.cli.tracking import export, link
from napari_segany.cli.train import train
from napari_segany.core.errors import SeganyError
from napari_segany.engine.session_files import PROJECT

# Depending on its version typer uses click or a copy of it; this is what all of click's errors have in common.
_UsageErrors: type[Exception] = typer.BadParameter.__mro__[2]

app = new_app(help="Segment anything in microscopy images: click, box, have the mask.")
app.add_typer(models, name="models")
app.add_typer(bench, name="bench")
app.add_typer(train, name="train")
app.add_typer(dataset, name="dataset")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        What follows the program's name; by default what the process was given.

    Returns
    -------
    int
        Exit status: 0; 2 for bad input, after one line on stderr; 130 when interrupted, 143 and 129 when ended by
        SIGTERM and SIGHUP. Nothing half done is left then.
    """
    with writable_names(), ended_by_signals():
        try:
            status = app(arguments, prog_name="napari-segany", standalone_mode=False)
        except SeganyError as error:
            return _fail(str(error))
        except _UsageErrors as error:
            return _fail(getattr(error, "format_message", error.__str__)())
        except (typer.Abort, KeyboardInterrupt):
            return 130
        except Ended as ended:
            return 128 + ended.signal
        except BrokenPipeError:
            return 128 + 13
        except OSError as error:
            # names that the system does not take, folders that vanished, disks that are full
            return _fail(f"{error.filename}: {error.strerror}" if error.filename and error.strerror else str(error))
    return status if isinstance(status, int) else 0


def _fail(message: str) -> int:
    typer.echo(f"napari-segany: {' '.join(message.split())}", err=True)
    return 2


def _show_version(wanted: bool) -> None:
    if wanted:
        from napari_segany import __version__

        typer.echo(f"napari-segany {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _options(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command("open")
def open_folder(
    folder: Annotated[Path, typer.Argument(help="A folder of images, or its segany-project.json.", show_default=False)],
) -> None:
    """Open the window with a folder of images, to work on one after the other.

    napari itself opens a folder as one stack.
    """
    from napari_segany.batch.project import begin_project

    folder = (folder.parent if folder.name == PROJECT else folder).absolute()
    begin_project(folder)
    import napari

    from napari_segany.widgets.commands import docked

    docked(napari.Viewer()).project.open_folder(str(folder))
    napari.run()


@app.command()
def demo(
    headless: Annotated[bool, typer.Option("--headless", help="Do without a window.")] = False,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for the labels (TIFF) and the picture; without a window, segany-demo by default."),
    ] = None,
) -> None:
    """Place prompts on a sample and show the masks.

    Opens napari and leaves the window open; without a display it writes labels and a picture, and prints the mean IoU
    with the sample's known truth.
    """
    from napari_segany.demo import run_demo

    typer.echo(run_demo(headless, out))


app.command()(segment)
app.command()(classify)
app.command()(refine)
app.command()(link)
app.command()(export)
app.command()(measure)
app.command()(effort)
app.command()(engine)


@app.command()
def embed(
    image: Annotated[Path, typer.Argument(help="TIFF, PNG, JPEG, BMP, or the folder of an OME-Zarr.")],
    model: ModelOption = "tiny",
) -> None:
    """Encode all planes of an image beforehand, so that the widget answers at once on each of them.

    Embeddings are kept on the disk, by content: any image with the same planes finds them. SEGANY_EMBEDDINGS names
    another folder, SEGANY_EMBEDDINGS_GB how many gigabytes are kept (4), the ones that were used last.
    """
    from napari_segany.engine.encoding import embed_file, embeddings_folder
    from napari_segany.engine.remote_segmenter import load_remote
    from napari_segany.io.output_checks import check_apart

    folder = embeddings_folder()
    if image.is_dir():
        check_apart(folder / "embeddings", [image], "the embeddings")
    report = embed_file(image, lambda: load_remote(model, show_download), ShownProgress())
    typer.echo(f"encoded {report.planes} planes, {report.bytes / 1e6:.0f} MB, in {folder}")


@app.command()
def replay(
    session: Annotated[Path, typer.Argument(help="The file that the widget kept of a session, NAME.jsonl.")],
    labels: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="LABELS", help="What to write: .tif, .zarr, IMAGE.zarr/labels/NAME."),
    ],
    image: Annotated[Path | None, typer.Option(help="The image, when it is not where it was opened from.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace LABELS when it exists.")] = False,
) -> None:
    """Repeat a session of the widget without a window, and write the labels.

    Each mask is predicted again. On the same machine and device the labels are identical to the bit; differences
    are reported. Another image and other weights than the session's are refused.
    """
    from napari_segany.batch.replay import ReplayJob, replay_file

    report = replay_file(ReplayJob(session, labels, image, overwrite))
    if report.warning:
        typer.echo(f"napari-segany: {report.warning}", err=True)
    if report.differing:
        typer.echo(f"napari-segany: {report.differing} pixels are not as they were in the session", err=True)
    typer.echo(f"wrote {report.path}: {report.objects} objects")
