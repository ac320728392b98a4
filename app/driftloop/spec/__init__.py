"""Model specs: what a person writes in YAML about one model, checked on the way in."""

from driftloop.spec.load import SpecError, load_spec, load_specs, parse_spec, spec_digest
from driftloop.spec.model import ModelSpec

__all__ = ["ModelSpec", "SpecError", "load_spec", "load_specs", "parse_spec", "spec_digest"]
