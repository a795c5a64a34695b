"""The fingerprint of everything that decides a bundle's bytes."""

import hashlib
import json

from pyembed_gen import payload
from pyembed_gen.manifest import VERSION, Origin
from pyembed_gen.plan import Job

__all__ = ["recipe"]

# Raised whenever a change to this program changes the bundle that equal inputs give.
_REVISION = 1


def recipe(job: Job, origin: Origin, content: str) -> str:
    """Return the recipe of a bundle, in hex: equal recipes mean equal bytes.

    ``content`` identifies what is unpacked: the archive's sha256, or for folders the hash of what was kept.
    """
    row = job.platform
    values = {
        "revision": _REVISION,
        "format": VERSION,
        "content": content,
        "origin": {name: getattr(origin, name) for name in Origin.__slots__},
        "platform": [row.key, row.format, row.machine, row.layout.interpreter, row.stdlib(job.line)],
        "drop": [[rule.name, *rule.patterns] for rule in job.drop],
        "keep": job.keep,
        "libraries": row.layout.libraries,
        "roots": job.roots,
        "strip": job.strip,
        "codec": [job.codec.name, job.codec.level, payload.library(job.codec), payload.CHUNK],
    }
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
