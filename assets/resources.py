"""What assets get from outside: the home with its clock.

What lives here: the one resource. What does not: reading the environment (pipelines/settings.py). The resource has no
configuration on purpose: run configuration is stored and shown, and neither paths nor keys belong there.
"""

import dagster as dg

from pipelines.settings import Settings


class Home(dg.ConfigurableResource[Settings]):
    """The home that TOKENMART_HOME names, at the time that TOKENMART_NOW or the machine tells."""

    def settings(self) -> Settings:
        """Home, clock and limits of this process."""
        return Settings.load()
