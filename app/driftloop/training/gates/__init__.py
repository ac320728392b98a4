"""What a challenger must pass before it is promoted: each gate a number, a bound and a sentence."""

from driftloop.training.gates.run import first_failure, run_gates
from driftloop.training.gates.trial import Candidate, Predict, Reference, Rival, Trial, seed_from

__all__ = ["Candidate", "Predict", "Reference", "Rival", "Trial", "first_failure", "run_gates", "seed_from"]
