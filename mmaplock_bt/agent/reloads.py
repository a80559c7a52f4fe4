"""Reads the configuration anew when that is asked for; says what becomes of it."""

from collections.abc import Callable
from dataclasses import dataclass

from mmaplock_bt.agent import service_manager
from mmaplock_bt.agent.config import Config
from mmaplock_bt.errors import UsageError

NOT = "the configuration is not read anew, the one before goes on"


@dataclass
class Reloads:
    """`is_asked` tells it once; `load` raises UsageError; `say` prints a sentence.

    `is_well` is what became of the last one.
    """

    is_asked: Callable[[], bool]
    load: Callable[[], Config]
    say: Callable[[str], None]
    is_well: bool = True

    def asked(self) -> Config | None:
        """Returns a configuration that is to be followed; a faulty one is told and left."""
        if not self.is_asked():
            return None
        service_manager.tell(*service_manager.reloading())
        try:
            return self.load()
        except UsageError as error:
            self._refuse(str(error))
        return None

    def answered(self, why: str) -> None:
        """Takes the outcome: '' where it is followed, else why not."""
        if why:
            self._refuse(why)
            return
        self.is_well = True
        self.say("tracing; the configuration was read anew")
        service_manager.tell(service_manager.READY)

    def _refuse(self, why: str) -> None:
        self.is_well = False
        self.say(f"{NOT}: {why}")
        service_manager.tell(service_manager.READY)
