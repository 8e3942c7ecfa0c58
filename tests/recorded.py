"""Results folders that hold real trials, run in this process and written as a driver does."""

import yaml

from raysweep import data
from raysweep.data import deal_key
from raysweep.records.data_hashes import keep_hashes
from raysweep.records.store import Store
from raysweep.records.tables import pack
from raysweep.space.parsing import parse_space
from raysweep.trial.run import run_recorded


def record_sweep(path, text, points=()):
    """Run the baseline of a space, its scenarios and some points; return the results folder."""
    space = parse_space(text, "space.yaml")
    store = Store(str(path))
    store.folder.write_bytes(yaml.safe_dump(space.to_plain()).encode(), "space.yaml")
    named = [(None, space.baseline())]
    named += [(name, space.config(values)) for name, values in space.scenario_points()]
    named += [(None, space.config(values)) for values in points]
    distinct = {config.trial_id: (name, config) for name, config in reversed(named)}

    for number, trial_id in enumerate(reversed(distinct)):
        name, config = distinct[trial_id]
        deal = data.load(config.dataset, seed=config.seed)
        keep_hashes(store, {deal_key(config.dataset, config.seed): deal})
        packed = pack(run_recorded(config))
        store.write(packed.with_number(number=number, scenario=name))
    return store.path
