"""What a reader is told who goes on from somewhere."""

from ktrdr_otel.operations.json_form import operation_json
from ktrdr_otel.operations.ports import Batch
from ktrdr_otel.runtime import open_service
from ktrdr_otel.server.hub import Hub
from ktrdr_otel.settings import load_settings
from tests.integration.server.conftest import begin, unit


async def test_who_has_read_further_than_the_hub_is_told_nothing_twice() -> None:
    """A reader that was far behind is served from the store, which is ahead of the hub; then it is cut and returns."""
    service = open_service(load_settings(database="sqlite:///:memory:"))
    begin(service, "one")
    service.write(Batch(finished=[unit("one", number) for number in range(1, 11)]))
    steps = service.steps(after=0, limit=20)
    hub = Hub(service, operation_json)
    hub.stored([service.get("one")], steps[:3], steps[2].sequence)
    told = hub.follow("one", steps[-1].sequence)
    first = await anext(told)
    assert [(message.event, message.id) for message in first.messages] == [("state", steps[-1].sequence)]
    hub.stored([], steps[3:], steps[-1].sequence)
    hub.close("the test is over")
    rest = [message.event async for chunk in told for message in chunk.messages]
    assert rest == ["bye"]
    service.close()


async def test_who_claims_to_have_read_what_is_not_there_begins_now() -> None:
    """A number from another store is not waited for."""
    service = open_service(load_settings(database="sqlite:///:memory:"))
    begin(service, "one")
    hub = Hub(service, operation_json)
    hub.stored([service.get("one")], [], 0)
    told = hub.follow("one", 4711)
    first = await anext(told)
    assert [message.id for message in first.messages] == [0]
    await told.aclose()
    service.close()
