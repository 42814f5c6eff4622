"""The checker of annotations in test runs: beartype, with an int accepted where a float is written."""

from beartype import BeartypeConf, beartype

checked = beartype(conf=BeartypeConf(is_pep484_tower=True))
