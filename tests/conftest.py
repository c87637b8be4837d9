"""What holds for every test: no property fails because the machine was slow, and in CI the same cases every time."""

import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.postgresql import Cluster, running_cluster

settings.register_profile("here", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "here")


@pytest.fixture(scope="session")
def postgresql_cluster() -> Iterator[Cluster]:
    """A PostgreSQL server, started by the first test that needs one."""
    with running_cluster() as cluster:
        yield cluster


@pytest.fixture
def postgresql_url(postgresql_cluster: Cluster) -> str:
    """The URL of an empty database of a real PostgreSQL."""
    return postgresql_cluster.new_database()
