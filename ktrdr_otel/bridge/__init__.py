"""From spans to progress: the processor, the routing table and the training bridge."""
