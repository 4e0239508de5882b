from tests.faults.conftest import of

__all__ = ["of"]
