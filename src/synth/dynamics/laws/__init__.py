"""Growth laws by name; a new law is a file here and a line in `LAWS`."""

from synth.dynamics.laws.bertalanffy import BERTALANFFY, GENERAL_BERTALANFFY
from synth.dynamics.laws.exponential import EXPONENTIAL
from synth.dynamics.laws.fit import fit_law
from synth.dynamics.laws.gompertz import GENERAL_GOMPERTZ, GOMPERTZ
from synth.dynamics.laws.law import Law
from synth.dynamics.laws.logistic import LOGISTIC
from synth.dynamics.laws.stein_fojo import STEIN_FOJO

LAWS: dict[str, Law] = {
    law.name: law
    for law in (EXPONENTIAL, LOGISTIC, BERTALANFFY, GENERAL_BERTALANFFY, GOMPERTZ, GENERAL_GOMPERTZ, STEIN_FOJO)
}
CLASSICAL = ("exponential", "logistic", "bertalanffy", "general_bertalanffy", "gompertz", "general_gompertz")
"""The six laws that Ghaffari Laleh et al. 2022 compared."""
SEMIGROUP = CLASSICAL
"""Laws whose only state is the volume: t days after s days are s + t days. Stein-Fojo has two parts of its own."""

__all__ = ["CLASSICAL", "LAWS", "SEMIGROUP", "Law", "fit_law"]
