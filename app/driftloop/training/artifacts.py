"""Model files: skops archives, never pickles.

A pickle runs whatever code it names while it is read; a skops archive names types, and only those in an explicit list
are made. skops itself trusts scikit-learn's public estimators and numpy's arrays; :data:`TRUSTED` adds the few private
parts that fitted estimators hold, and one function that checks arrays, which histogram gradient boosting keeps for its
numeric columns.
"""

from __future__ import annotations

import hashlib
import zipfile

import skops.io
from sklearn.pipeline import Pipeline

from driftloop.training.errors import EstimatorError

__all__ = ["SUFFIX", "TRUSTED", "ArtifactError", "dump", "load"]

#: File name ending of model files.
SUFFIX = ".skops"

#: What fitted estimators hold beyond the types that skops trusts by itself. A partial brings in no function that is not
#: listed too.
TRUSTED = frozenset(
    {
        # They read their state by a list of their own, in river_state.py.
        "driftloop.training.river.RiverClassifier",
        "driftloop.training.river.RiverRegressor",
        "functools.partial",
        "numpy.dtype",
        "sklearn._loss.link.Interval",
        "sklearn._loss.loss.AbsoluteError",
        "sklearn._loss.loss.HalfBinomialLoss",
        "sklearn._loss.loss.HalfMultinomialLoss",
        "sklearn._loss.loss.HalfSquaredError",
        "sklearn.calibration._CalibratedClassifier",
        "sklearn.calibration._SigmoidCalibration",
        "sklearn.ensemble._hist_gradient_boosting.binning._BinMapper",
        "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
        "sklearn.metrics._dist_metrics.EuclideanDistance64",
        "sklearn.neighbors._kd_tree.KDTree",
        "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
        "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
        "sklearn.tree._tree.Tree",
        "sklearn.utils.validation.check_array",
    }
)


class ArtifactError(ValueError):
    """The model file cannot be written, or must not or cannot be loaded."""


def dump(pipeline: Pipeline) -> bytes:
    """The pipeline as a skops archive.

    Raises :class:`~driftloop.training.estimators.EstimatorError` if it holds a type that :func:`load` would refuse, so
    that a model which nobody could load is never registered.
    """
    data = bytes(skops.io.dumps(pipeline, compression=zipfile.ZIP_DEFLATED, compresslevel=6))
    foreign = sorted(set(skops.io.get_untrusted_types(data=data)) - TRUSTED)
    if foreign:
        raise EstimatorError(
            f"{type(pipeline[-1]).__name__} cannot be kept as a model file: it holds {', '.join(foreign)}, "
            "which driftloop does not trust; choose another estimator"
        )
    return data


def load(data: bytes, *, sha256: str | None = None) -> Pipeline:
    """The fitted pipeline in a skops archive.

    Nothing is made of an archive that names a type outside of the trusted ones, or whose content has not the ``sha256``
    that the registry has for it. Raises :class:`ArtifactError` that says which. Without ``sha256`` the caller has
    checked the content (``ArtifactStore.read`` does).
    """
    found = hashlib.sha256(data).hexdigest()
    if sha256 is not None and found != sha256:
        raise ArtifactError(
            f"the model file has the SHA-256 {found}, and the registry has {sha256} for it; it was not loaded"
        )
    try:
        foreign = sorted(set(skops.io.get_untrusted_types(data=data)) - TRUSTED)
    except Exception as error:  # skops raises whatever the archive's content provokes, before anything is made of it
        raise ArtifactError(f"the model file of {len(data):,} bytes is not a skops archive: {error}") from error
    if foreign:
        raise ArtifactError(
            f"the model file holds {', '.join(foreign)}, which is not among the trusted types; it was not loaded. "
            "Train the model with driftloop, or convert it to a scikit-learn pipeline"
        )
    try:
        model = skops.io.loads(data, trusted=sorted(TRUSTED))
    except Exception as error:  # skops raises whatever the archive's content provokes; all of it means: not loadable
        raise ArtifactError(
            f"the model file could not be loaded ({type(error).__name__}: {error}); "
            "was it written with another version of scikit-learn?"
        ) from error
    if not isinstance(model, Pipeline):
        raise ArtifactError(f"the model file holds a {type(model).__name__}, expected a scikit-learn Pipeline")
    return model
