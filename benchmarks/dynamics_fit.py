"""Fit what the dynamics knows beside its weights: src/synth/dynamics/rates.json and deaths.json.

    python benchmarks/dynamics_fit.py DATA         (DATA: a folder with growth/recist/series.csv)

The rates of a known past: log-kill of each class of drug, its fading, the random walk and the reading error of the
RECIST table, whose patients are all treated, so that the growth without treatment is assumed (`doubling_days` of
`Assumptions`). The share of lesions that disappear: from the size that a learner of other patients expects.
"""

from __future__ import annotations

import argparse
import math
import sys
import tomllib
from pathlib import Path

from synth.benchmark.prediction_deaths import expected_sizes, questions_of
from synth.dynamics import deaths, rates
from synth.dynamics.deaths import Deaths
from synth.dynamics.effects import Assumptions
from synth.dynamics.given import Given
from synth.dynamics.rates_fit import Growth, Treated, fit_rates
from synth.dynamics.series import FLOOR_MM, Series
from synth.dynamics.tables import read_recist

CONFIG = Path(__file__).parents[1] / "configs" / "dynamics" / "dynamics.toml"
SPREAD = 0.004
"""Assumed standard deviation of the growth, 1/day: two thirds of the lesions double in 80 to 730 days."""


def treated(series: Series, action: str) -> Treated | None:
    """Visits until the lesion is too small, with the drug given from the start of the trial on, day 0."""
    gone = series.log_mm <= math.log(FLOOR_MM) + 0.01
    count = int(gone.argmax()) if gone.any() else len(series.days)
    if count < 2:
        return None
    given = Given(((action, max(0.0, float(series.days[0])), math.inf),))
    return Treated(series.days[:count], 3.0 * series.log_mm[:count], given)


def main() -> None:
    """Fit, write and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    table = read_recist(parser.parse_args().data / "growth" / "recist" / "series.csv")
    classes = tomllib.loads(CONFIG.read_text())["model"]["actions"]

    asked = questions_of(table)
    sizes = expected_sizes(table, asked, folds=5, seed=0)
    died = Deaths.fit(sizes, asked.ahead_days, asked.truth <= math.log(FLOOR_MM) + 0.01)
    died.save(deaths.SHIPPED)
    sys.stdout.write(f"{died}\n")

    found = [one for each in table if (one := treated(each, classes[each.action])) is not None]
    growth = Growth(math.log(2.0) / Assumptions().doubling_days, SPREAD)
    fitted = fit_rates(found, growth=growth)
    fitted.save(rates.SHIPPED)
    sys.stdout.write(f"{len(found)} series: {fitted}\n")


if __name__ == "__main__":
    main()
