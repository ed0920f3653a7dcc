"""``deblur package``: the folder that is published to Azure Functions, or built into an image."""

from pathlib import Path
from typing import Literal

from deblur.cli.console import say
from deblur.files import pasteable


def package(
    model: tuple[str, ...] = (),
    out: Path = Path("build/azure"),
    engine: Literal["openvino", "onnxruntime"] = "openvino",
) -> int:
    """Make the folder that is deployed to Azure Functions, or built into an image.

    It holds the app, the modules that it needs, one model or several, and the requirements.

    Args:
        model: A model folder, models:/NAME@champion, or bundled (the model of this package); or several with names, as
            a=FOLDER b=models:/NAME@champion, of which the first is the default. By default the model that restore
            takes.
        out: The folder to write. What this command wrote there before is replaced.
        engine: What runs the network where it is deployed: openvino is faster on x86-64, onnxruntime runs everywhere.
    """
    from deblur import project
    from deblur.cli.opening import by_name
    from deblur.library import locate
    from deblur.staging import stage

    models = {name: locate(where) for name, where in by_name(model).items()}
    staged = stage(project.root(), models, out, engine)
    say(f"{staged.modules} modules and what goes with them, {staged.code_bytes / 1e6:.1f} MB")
    say(f"{', '.join(info.label for info in staged.models)}, {staged.model_bytes / 1e6:.1f} MB")
    say(pasteable(out))
    return 0
