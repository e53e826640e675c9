"""Start a NequIP or Allegro model of a new element from a model of a related one.

This module runs inside every ``import nequip`` (entry point ``nequip.extension``), so it only registers
the ``${element_transfer:...}`` look-ups; their code is imported when a config uses them.
"""

from nequip.utils.resolvers import register_resolvers

__version__ = "0.1.0"


def _element_transfer(*name, _root_):
    from nequip_elemtransfer.resolvers import look_up

    return look_up(",".join(map(str, name)), _root_)  # a look-up takes one name, and says so itself


register_resolvers({"element_transfer": _element_transfer})
