"""Pictures of a run: how it learned, what it confuses, what it makes.

Lines differ in style and marker, not in colour alone, so that they can be told
apart in grey. A file a subject; every function writes one PNG.
"""

from jaxdl.runs.plots.attention import attention_maps
from jaxdl.runs.plots.classification import confusion_matrix, worst_images
from jaxdl.runs.plots.curves import learning_curves
from jaxdl.runs.plots.figure import new_figure, save_figure
from jaxdl.runs.plots.images import feature_maps, image_grid, montage
from jaxdl.runs.plots.language import gradient_by_lag, loss_by_place
from jaxdl.runs.plots.latents import latent_map

__all__ = [
    "attention_maps",
    "confusion_matrix",
    "feature_maps",
    "gradient_by_lag",
    "image_grid",
    "latent_map",
    "learning_curves",
    "loss_by_place",
    "montage",
    "new_figure",
    "save_figure",
    "worst_images",
]
