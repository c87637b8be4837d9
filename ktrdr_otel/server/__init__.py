"""The OperationsService's face to the network: REST, streams, `/v1/traces` and the page."""
