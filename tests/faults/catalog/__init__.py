"""Every fault, by chapter."""

from tests.faults.catalog.answers import BAD_200, IN_STREAM, RETRIES
from tests.faults.catalog.basics import CONTRACT, STALLS, TRUNCATION
from tests.faults.catalog.framing import BOUNDS, FRAMING
from tests.faults.catalog.images import IMAGES
from tests.faults.catalog.life import LIFE
from tests.faults.catalog.secrets import SECRETS
from tests.faults.fault import Fault

FAULTS: tuple[Fault, ...] = (
    *CONTRACT,
    *TRUNCATION,
    *STALLS,
    *RETRIES,
    *IN_STREAM,
    *BAD_200,
    *FRAMING,
    *BOUNDS,
    *LIFE,
    *SECRETS,
    *IMAGES,
)
BY_NAME: dict[str, Fault] = {fault.name: fault for fault in FAULTS}
